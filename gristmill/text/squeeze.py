"""Texts as exact comparison has them, whole columns at once: one blank between words, and what is no word
left out where that is asked.

    squeezed, odd = squeeze(texts)                  # " ".join(text.split()) of each
    squeezed, odd = squeeze(texts, letters=True)    # of ASCII alone: lower case, letters and digits

`odd` are texts that must be brought into Unicode's composed form (NFC) before, or are not ASCII where letters
are asked for: they are empty here, and for `gristmill.text.normal`.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, kernel, part
from gristmill.text.lanes import (
    LANES,
    ONE,
    ROOM,
    ZERO,
    address_of,
    between,
    copy_bytes,
    lowest,
    window,
)
from gristmill.text.points import ASCII_CLASS, decode, read
from gristmill.text.tables import SPACE
from gristmill.text.words import text_spans

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_ENDS = types.Array(types.int64, 1, "C")
_OUT = types.Array(types.uint8, 1, "C")
_ROOM = types.Array(types.uint64, 1, "C")
_NUM_POINTS = 0x20000  # a text with a code point beyond them is odd
_JAMO = (range(0x1100, 0x1200), range(0xA960, 0xA980), range(0xD7B0, 0xD800))

# What an ASCII byte becomes where only words count: letters in lower case, digits, else a blank.
_WORD = np.array([ord(chr(byte).lower()) if chr(byte).isalnum() else 32 for byte in range(128)], np.uint8)
_SAME = np.arange(128, dtype=np.uint8)
_NONE = np.zeros(0, np.uint8)
_CAREFUL_BYTES = 16  # read one by one after what does not stay as it is


@lru_cache(maxsize=1)
def inert_points() -> npt.NDArray[np.uint8]:
    """Return which code points composition leaves as they are, whatever stands beside them: a text of these
    alone is in NFC already (Unicode Standard Annex 15, section 9).

    Not so one that composes with what stands before it, nor one that begins with such a one when it is taken
    apart, as U+16D68 does since Unicode 16.
    """
    inert = np.zeros(_NUM_POINTS, np.uint8)
    second, composites = set(), []
    for point in range(_NUM_POINTS):
        char = chr(point)
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and parts[0][0] != "<":
            second.add(int(parts[1], 16))
            composites.append(point)
        inert[point] = unicodedata.combining(char) == 0 and unicodedata.is_normalized("NFC", char)
    inert[[point for point in second if point < _NUM_POINTS]] = 0
    for point in composites:
        if ord(unicodedata.normalize("NFD", chr(point))[0]) in second:
            inert[point] = 0
    for jamo in _JAMO:
        inert[jamo.start : jamo.stop] = 0
    return inert


def squeeze(
    texts: pa.Array | pa.ChunkedArray, *, letters: bool = False
) -> tuple[pa.LargeStringArray, npt.NDArray[np.bool_]]:
    """Return each text with its words one blank apart, "" where it is null or odd; and which are odd."""
    starts, stops, data = text_spans(texts)
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    ends = np.empty(len(starts) + 1, np.int64)
    out = np.empty(int((stops - starts).sum()) + 1, np.uint8)
    odd = np.zeros(len(starts), np.uint8)
    room = np.empty(ROOM, np.uint64)
    is_ascii = letters or not len(data) or int(data.max()) < 0x80
    inert = _NONE if is_ascii else inert_points()
    _squeeze(data, starts, stops, _WORD if letters else _SAME, inert, letters, ends, out, odd, room)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(out[: ends[-1]])]
    return pa.Array.from_buffers(pa.large_string(), len(starts), buffers), odd.astype(bool)


@part
def _as_it_is(data, at, stop, after_blank, room):  # type: ignore[no-untyped-def]
    """Return how many bytes from here on stay as they are, 64 at most: ASCII, no white space but single
    blanks; and whether the last of them is a blank."""
    size = min(stop - at, LANES)
    place = window(data, at, stop, room)
    blanks = between(place, 32, 32)
    other = between(place, 9, 13) | between(place, 28, 31) | between(place, 0x80, 0xFF)
    other |= blanks & ((blanks << ONE) | np.uint64(after_blank))
    count = min(lowest(other), size)
    return count, count > 0 and blanks >> np.uint64(max(count - 1, 0)) & ONE != ZERO


@kernel(types.void(BYTES, _PLACES, _PLACES, _OUT, _OUT, types.boolean, _ENDS, _OUT, _OUT, _ROOM))
def _squeeze(data, starts, stops, becomes, inert, ascii_only, ends, out, odd, room):  # type: ignore[no-untyped-def]
    source, target = address_of(data), address_of(out)
    to = 0
    ends[0] = 0
    for row in range(len(starts)):
        at, stop = starts[row], stops[row]
        begun = to
        careful = at  # up to here one by one
        blank = False  # a blank is due before the next word
        while at < stop:
            if at >= careful and not ascii_only:
                count, ends_blank = _as_it_is(data, at, stop, blank or to == begun, room)
                if count:
                    if blank:
                        out[to] = 32
                        to += 1
                    copy_bytes(source + np.uint64(at), target + np.uint64(to), count - ends_blank)
                    to += count - ends_blank
                    blank = ends_blank
                    at += count
                    continue
                careful = at + _CAREFUL_BYTES
            code = data[at]
            if code < 0x80:
                code = becomes[code]
                at += 1
                if ASCII_CLASS[code] & SPACE:
                    blank = to > begun
                    continue
                if blank:
                    out[to] = 32
                    to += 1
                    blank = False
                out[to] = code
                to += 1
                continue
            point, width = decode(data, at, stop)
            if ascii_only or point >= _NUM_POINTS or inert[point] == 0:
                odd[row] = 1
                to = begun
                break
            _, _, bits = read(data, at, stop)
            if bits & SPACE:
                blank = to > begun
                at += width
                continue
            if blank:
                out[to] = 32
                to += 1
                blank = False
            for _ in range(width):
                out[to] = data[at]
                at, to = at + 1, to + 1
        ends[row + 1] = to
