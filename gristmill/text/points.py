"""Reading code points and their classes inside kernels."""

from __future__ import annotations

import numpy as np

from gristmill.text.kernel import part
from gristmill.text.tables import CLASS_INDEX, CLASS_PAGES, LOWER_INDEX, LOWER_PAGES, SPACE

# Class and lower case of the ASCII bytes.
ASCII_CLASS = CLASS_PAGES[int(CLASS_INDEX[0]) * 256 :][:128].copy()
ASCII_LOWER = (np.arange(128) + LOWER_PAGES[int(LOWER_INDEX[0]) * 256 :][:128]).astype(np.uint8)
FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)


@part
def decode(data, i, stop):  # type: ignore[no-untyped-def]
    """Return (code point, width in bytes) at i; bytes that are not UTF-8 count one by one as U+FFFD."""
    first = np.int64(data[i])
    if first < 0x80:
        return first, 1
    if 0xC2 <= first < 0xE0 and i + 1 < stop:
        return (first & 0x1F) << 6 | np.int64(data[i + 1]) & 0x3F, 2
    if 0xE0 <= first < 0xF0 and i + 2 < stop:
        return (first & 0x0F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | np.int64(data[i + 2]) & 0x3F, 3
    if 0xF0 <= first < 0xF5 and i + 3 < stop:
        point = (first & 7) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12 | (np.int64(data[i + 2]) & 0x3F) << 6
        return min(point | np.int64(data[i + 3]) & 0x3F, 0x10FFFF), 4
    return 0xFFFD, 1


@part
def class_of(point):  # type: ignore[no-untyped-def]
    return np.int64(CLASS_PAGES[np.int64(CLASS_INDEX[point >> 8]) * 256 + (point & 255)])


@part
def lower_of(point):  # type: ignore[no-untyped-def]
    return point + np.int64(LOWER_PAGES[np.int64(LOWER_INDEX[point >> 8]) * 256 + (point & 255)])


@part
def read(data, i, stop):  # type: ignore[no-untyped-def]
    """Return (code point, width, class) at i.

    Hot loops test for ASCII themselves and call this for the rest: numba does not keep the returned tuple in
    registers.
    """
    point, width = decode(data, i, stop)
    return point, width, class_of(point)


@part
def back(data, i, start):  # type: ignore[no-untyped-def]
    """Return where the code point that ends before i begins."""
    i -= 1
    while i > start and data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@part
def strip(data, start, stop):  # type: ignore[no-untyped-def]
    """Return the bounds of data[start:stop] without white space at its ends, as str.strip does."""
    while start < stop:
        if data[start] < 0x80:
            if not ASCII_CLASS[data[start]] & SPACE:
                break
            start += 1
        else:
            _, width, bits = read(data, start, stop)
            if not bits & SPACE:
                break
            start += width
    while start < stop:
        if data[stop - 1] < 0x80:
            if not ASCII_CLASS[data[stop - 1]] & SPACE:
                break
            stop -= 1
        else:
            before = back(data, stop, start)
            _, _, bits = read(data, before, stop)
            if not bits & SPACE:
                break
            stop = before
    return start, stop


@part
def finish(h):  # type: ignore[no-untyped-def]
    """MurmurHash3's 64-bit finaliser: FNV-1a alone leaves its low bits poor."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))
