"""The keys of every line of a column of texts, as `split` makes them: by a kernel where a line is ASCII."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, kernel
from gristmill.text.points import ASCII_CLASS, ASCII_LOWER
from gristmill.text.tables import SPACE
from gristmill.text.words import text_spans

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_INTS = types.Array(types.int64, 1, "C")
_OUT = types.Array(types.uint8, 1, "C")


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
    num_lines = _lines(data, starts, stops, of, number, first, last, ends, out, odd)
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


@kernel(types.int64(BYTES, _PLACES, _PLACES, _INTS, _INTS, _INTS, _INTS, _INTS, _OUT, _OUT))
def _lines(data, starts, stops, of, number, first, last, ends, out, odd):  # type: ignore[no-untyped-def]
    found, to = 0, 0
    ends[0] = 0
    for row in range(len(starts)):
        at, stop = starts[row], stops[row]
        line = 0
        while True:
            begun = at
            is_ascii = True
            while at < stop and data[at] != 10:
                is_ascii &= data[at] < 0x80
                at += 1
            of[found], number[found], first[found], last[found] = row, line, begun, at
            if is_ascii:
                low, high = begun, at
                while low < high and ASCII_CLASS[data[low]] & SPACE:
                    low += 1
                while low < high and ASCII_CLASS[data[high - 1]] & SPACE:
                    high -= 1
                for i in range(low, high):
                    out[to] = ASCII_LOWER[data[i]]
                    to += 1
            else:
                odd[found] = 1
            found += 1
            ends[found] = to
            line += 1
            if at >= stop:
                break
            at += 1
    return found
