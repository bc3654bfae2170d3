"""The keys of every line of a column of texts, as `split` makes them: by a kernel, but for few lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, kernel, part
from gristmill.text.lanes import LANES, ROOM, ZERO, between, first_bits, lowest, window
from gristmill.text.points import ASCII_LOWER, decode, lower_of, strip
from gristmill.text.words import text_spans

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C")
_OUT = types.Array(types.uint8, 1, "C")
_ROOM = types.Array(types.uint64, 1, "C")
# Their lower case is two characters, or another one at the end of a word.
_DOTTED_I, _SIGMA = 0x130, 0x3A3


class Lines(NamedTuple):
    """The lines of texts that are compared: key, the text's place in its column, the line's in its text."""

    keys: pa.LargeStringArray
    texts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]


def lines_of(texts: pa.Array | pa.ChunkedArray) -> Lines:
    """Return every line of each text that is not blank; its key is the line stripped, in lower case."""
    starts, stops, data = text_spans(texts)
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    most = int(np.count_nonzero(data == 10)) + len(starts)
    of, number, first, last = (np.empty(most, np.int64) for _ in range(4))
    ends, out = np.empty(most + 1, np.int64), np.empty(int((stops - starts).sum()), np.uint8)
    odd = np.zeros(most, np.uint8)
    num_lines = _lines(
        data, starts, stops, of, number, first, last, ends, out, odd, np.empty(ROOM, np.uint64)
    )
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(out[: ends[num_lines]])]
    keys = pa.Array.from_buffers(pa.large_string(), num_lines, buffers)
    places = np.flatnonzero(odd[:num_lines])
    if len(places):
        raw = memoryview(data.data)
        spelled = [str(raw[first[at] : last[at]], "utf-8").strip().lower() for at in places.tolist()]
        which = np.arange(num_lines)
        which[places] = num_lines + np.arange(len(places))
        keys = pa.concat_arrays([keys, pa.array(spelled, pa.large_string())]).take(pa.array(which))
    there = np.diff(np.frombuffer(keys.buffers()[1], np.int64)[keys.offset : keys.offset + len(keys) + 1]) > 0
    return Lines(keys.filter(pa.array(there)), of[:num_lines][there], number[:num_lines][there])


@part
def _lowered(data, i, stop, out, to):  # type: ignore[no-untyped-def]
    """Write a line in lower case and return where it ends; -1 where a character's lower case is not one of as
    many bytes, or depends on what stands beside it."""
    while i < stop:
        if data[i] < 0x80:
            out[to] = ASCII_LOWER[data[i]]
            i, to = i + 1, to + 1
            continue
        point, width = decode(data, i, stop)
        lower = lower_of(point)
        if point in (_DOTTED_I, _SIGMA) or _width(lower) != width:
            return -1
        if lower == point:
            for _ in range(width):
                out[to] = data[i]
                i, to = i + 1, to + 1
            continue
        lead = 0xC0 if width == 2 else 0xE0 if width == 3 else 0xF0
        out[to] = lead | lower >> (6 * (width - 1))
        for behind in range(1, width):
            out[to + behind] = 0x80 | (lower >> (6 * (width - 1 - behind))) & 0x3F
        i, to = i + width, to + width
    return to


@part
def _width(point):  # type: ignore[no-untyped-def]
    return 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4


@part
def _line_end(data, at, stop, room):  # type: ignore[no-untyped-def]
    """Return where the line that begins at `at` ends, and whether it is ASCII."""
    wide = ZERO
    while at < stop:
        size = min(stop - at, LANES)
        place = window(data, at, stop, room)
        inside = first_bits(size)
        newlines = between(place, 10, 10) & inside
        if newlines:
            end = lowest(newlines)
            return at + end, (wide | between(place, 0x80, 0xFF) & first_bits(end)) == ZERO
        wide |= between(place, 0x80, 0xFF) & inside
        at += size
    return at, wide == ZERO


@kernel(types.int64(BYTES, _PLACES, _PLACES, _INTS, _INTS, _INTS, _INTS, _INTS, _OUT, _OUT, _ROOM))
def _lines(data, starts, stops, of, number, first, last, ends, out, odd, room):  # type: ignore[no-untyped-def]
    found, to = 0, 0
    ends[0] = 0
    for row in range(len(starts)):
        at, stop = starts[row], stops[row]
        line = 0
        while True:
            begun = at
            at, is_ascii = _line_end(data, begun, stop, room)
            of[found], number[found], first[found], last[found] = row, line, begun, at
            low, high = strip(data, begun, at)
            if is_ascii:
                for i in range(high - low):
                    code = data[low + i]
                    out[to + i] = code + 32 if 65 <= code <= 90 else code
                to += high - low
            else:
                after = _lowered(data, low, high, out, to)
                odd[found] = after < 0
                to = max(after, to)
            found += 1
            ends[found] = to
            line += 1
            if at >= stop:
                break
            at += 1
    return found
