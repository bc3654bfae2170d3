"""The line pass: one walk over a text counts what rules ask about characters, lines and paragraphs.

Two kinds of line occur in the sources: those of `str.splitlines` (Gopher) and those between newlines
(FineWeb, mC4, repetition). `filters/reference.py` says what each signal means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.filters.block import Batch
from gristmill.text.kernel import BYTES, OFFSETS, kernel, part
from gristmill.text.lanes import (
    ONE,
    ROOM,
    ZERO,
    between,
    breaks_in,
    first_bits,
    hash_bytes,
    lowest,
    ones,
    window,
    with_sight,
)
from gristmill.text.points import FNV_OFFSET, FNV_PRIME, back, decode, finish, read, strip
from gristmill.text.tables import BREAK, END

COLUMNS = (
    *(
        "chars",
        "hashes",
        "ellipses",
        "lines",
        "bullet_lines",
        "ellipsis_lines",
        "split_lines",
        "third_line_chars",
    ),
    *("text_lines", "end_mark_lines", "short_lines", "duplicate_text_line_chars", "line_chars", "newlines"),
    *(
        "parts",
        "duplicate_lines",
        "duplicate_line_chars",
        "paragraphs",
        "duplicate_paragraphs",
        "duplicate_paragraph_chars",
    ),
)
_NEWLINE, _RETURN, _BULLET, _HYPHEN, _DOT, _HASH, _ELLIPSIS = 0x0A, 0x0D, 0x2022, 0x2D, 0x2E, 0x23, 0x2026

_U64, _I32, _I64 = (types.Array(kind, 1, "C") for kind in (types.uint64, types.int32, types.int64))
_OUT = types.Array(types.int64, 2, "C")


@part
def seen_before(keys, ages, mask, age, key):  # type: ignore[no-untyped-def]
    """Look a hash up in an open table and put it there.

    A slot is stamped with the generation that wrote it; those of another are empty, so that nothing is
    cleared between texts.
    """
    slot = np.int64(key) & mask
    while ages[slot] == age:
        if keys[slot] == key:
            return True
        slot = (slot + 1) & mask
    ages[slot] = age
    keys[slot] = key
    return False


@part
def _count(data, start, stop):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(start, stop):
        n += data[i] & 0xC0 != 0x80
    return n


@kernel(types.void(OFFSETS, OFFSETS, BYTES, _I64, _U64))
def _count_newlines(starts, stops, data, counts, room):  # type: ignore[no-untyped-def]
    for doc in range(len(starts)):
        n = 0
        for i in range(starts[doc], stops[doc], 64):
            n += ones(
                between(window(data, i, stops[doc], room), _NEWLINE, _NEWLINE) & first_bits(stops[doc] - i)
            )
        counts[doc] = n


@part
def _next_newline(data, i, stop, room, seen):  # type: ignore[no-untyped-def]
    """Return where the line at i ends; note in `seen` its characters, # and …, and whether it has ... or an
    odd line break."""
    chars = hashes = ellipses = 0
    dots = odd = ZERO
    while i < stop:
        place = window(data, i, stop, room)
        size = with_sight(stop - i, 2)
        inside = first_bits(size)
        newlines = between(place, _NEWLINE, _NEWLINE) & inside
        inside &= ~newlines & (newlines - ONE)
        chars += ones(inside & ~between(place, 0x80, 0xBF))
        hashes += ones(inside & between(place, _HASH, _HASH))
        dot, wide = (
            between(place, _DOT, _DOT),
            between(place, 0xE2, 0xE2) & (between(place, 0x80, 0x80) >> ONE),
        )
        ellipses += ones(inside & wide & (between(place, 0xA6, 0xA6) >> np.uint64(2)))
        dots |= inside & dot & (dot >> ONE) & (dot >> np.uint64(2))
        odd |= inside & breaks_in(place)
        if newlines:
            i += lowest(newlines)
            break
        i += size
    seen[0], seen[1], seen[2], seen[3], seen[4] = chars, hashes, ellipses, dots != ZERO, odd != ZERO
    return i


@part
def _three_dots(data, i, stop):  # type: ignore[no-untyped-def]
    """Count `...` without overlap."""
    found = run = 0
    while i < stop:
        run = run + 1 if data[i] == _DOT else 0
        if run == 3:
            found += 1
            run = 0
        i += 1
    return found


@part
def _edges(data, start, stop):  # type: ignore[no-untyped-def]
    """Return whether a line opens with a bullet and whether it closes with an ellipsis, white space aside."""
    start, stop = strip(data, start, stop)
    if start == stop:
        return 0, 0
    opening, _ = decode(data, start, stop)
    closing, _ = decode(data, back(data, stop, start), stop)
    dots = stop - start >= 3 and data[stop - 1] == _DOT and data[stop - 2] == _DOT and data[stop - 3] == _DOT
    return np.int64(opening in (_BULLET, _HYPHEN)), np.int64(dots or closing == _ELLIPSIS)


@part
def _split_lines(data, i, stop, last, counts):  # type: ignore[no-untyped-def]
    """Count the lines of `str.splitlines` within a line that ends at a newline, or at the end of the text."""
    line = i
    while i <= stop:
        width, bits = 1, np.int64(BREAK)
        if i < stop:
            _, width, bits = read(data, i, stop)
        if bits & BREAK and (i < last or i > line):
            bullet, ellipsis = _edges(data, line, i)
            counts[0] += 1
            counts[1] += bullet
            counts[2] += ellipsis
            if i < stop and data[i] == _RETURN and i + 1 == stop and stop < last:
                return
            line = i + width
        i += width


@kernel(types.void(OFFSETS, OFFSETS, BYTES, types.int64, _I64, _U64, _I32, _U64, _I32, _U64, _I64, _OUT))
def _line_pass(  # type: ignore[no-untyped-def]
    starts,
    stops,
    data,
    short_chars,
    num_newlines,
    keys,
    ages,
    paragraph_keys,
    paragraph_ages,
    room,
    seen,
    out,
):
    for doc in range(len(starts)):
        first, last = starts[doc], stops[doc]
        inner, outer = strip(data, first, last)
        mask = 7
        while mask < 2 * num_newlines[doc] + 4:
            mask = 2 * mask + 1
        age = doc + 1
        row, counts = out[doc], out[doc, 3:6]
        chars = text_lines = end_lines = short = text_duplicates = 0
        parts = duplicates = duplicate_chars = 0
        longest = second = third = 0
        paragraphs = paragraph_duplicates = paragraph_duplicate_chars = 0
        paragraph = FNV_OFFSET
        paragraph_chars = paragraph_lines = 0
        start = first
        while start <= last and first < last:
            stop = _next_newline(data, start, last, room, seen)
            size = seen[0]
            row[1] += seen[1]
            row[2] += seen[2]
            if seen[3]:
                row[2] += _three_dots(data, start, stop)
            h = hash_bytes(data, start, stop)
            low, high = start, stop
            if stop > start:
                low, high = strip(data, start, stop)
            blank = low == high
            if seen[4]:
                _split_lines(data, start, stop, last, counts)
            elif stop < last or stop > start:
                counts[0] += 1
                if not blank:
                    bullet, ellipsis = _edges(data, low, high)
                    counts[1] += bullet
                    counts[2] += ellipsis
            chars += size
            if size > longest:
                longest, second, third = size, longest, second
            elif size > second:
                second, third = size, second
            elif size > third:
                third = size
            # Lines as re.split("\n+") gives them: empty ones only at the ends of the text.
            if stop > start or start == first or stop == last:
                parts += 1
                if seen_before(keys, ages, mask, age, h):
                    duplicates += 1
                    duplicate_chars += size
                    if not blank:
                        text_duplicates += size
            if not blank:
                text_lines += 1
                short += size <= short_chars
                _, _, bits = read(data, back(data, stop, start), stop)
                end_lines += bits & END != 0
            # Paragraphs of the stripped text end at an empty line.
            if outer > inner and stop >= inner and start <= outer:
                low, high = max(start, inner), min(stop, outer)
                if high > low:
                    whole = low == start and high == stop
                    paragraph = (paragraph ^ (h if whole else hash_bytes(data, low, high))) * FNV_PRIME
                    paragraph_chars += (size if whole else _count(data, low, high)) + (paragraph_lines > 0)
                    paragraph_lines += 1
                if (high <= low or high == outer) and paragraph_lines:
                    paragraphs += 1
                    if seen_before(paragraph_keys, paragraph_ages, mask, age, finish(paragraph)):
                        paragraph_duplicates += 1
                        paragraph_duplicate_chars += paragraph_chars
                    paragraph = FNV_OFFSET
                    paragraph_chars = paragraph_lines = 0
            start = stop + 1
        row[0] = chars + num_newlines[doc]
        row[6], row[7] = num_newlines[doc] + 1, third
        row[8], row[9], row[10], row[11] = text_lines, end_lines, short, text_duplicates
        row[12], row[13] = chars, num_newlines[doc]
        row[14], row[15], row[16] = parts, duplicates, duplicate_chars
        row[17] = paragraphs if first == last else max(paragraphs, 1)
        row[18], row[19] = paragraph_duplicates, paragraph_duplicate_chars


def line_signals(batch: Batch, short_chars: int = 30) -> dict[str, npt.NDArray[Any]]:
    """Measure a batch once, whichever presets ask."""
    key = ("lines", short_chars)
    if key not in batch.memo:
        starts, stops = np.ascontiguousarray(batch.starts), np.ascontiguousarray(batch.measured_stops)
        out = np.zeros((len(starts), len(COLUMNS)), np.int64)
        newlines, room = np.zeros(len(starts), np.int64), np.empty(ROOM, np.uint64)
        _count_newlines(starts, stops, batch.data, newlines, room)
        slots = max(8, 1 << int(2 * newlines.max(initial=0) + 4).bit_length())
        kinds = {"keys": np.uint64, "ages": np.int32, "paragraph_keys": np.uint64, "paragraph_ages": np.int32}
        tables = [batch.scratch.empty(name, slots, kind) for name, kind in kinds.items()]
        tables[1].fill(0)
        tables[3].fill(0)
        _line_pass(
            starts, stops, batch.data, short_chars, newlines, *tables, room, np.empty(5, np.int64), out
        )
        batch.memo[key] = {name: np.ascontiguousarray(out[:, index]) for index, name in enumerate(COLUMNS)}
    memo: dict[str, npt.NDArray[Any]] = batch.memo[key]
    return memo
