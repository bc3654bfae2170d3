"""Where the pieces of many texts lie that a language detector is asked about (`gristmill.text.detection`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.text.kernel import BYTES, kernel

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_OUT = types.Array(types.int64, 1, "C")


def cut_pieces(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    piece_bytes: int,
    num_pieces: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut each text as `detection` cuts one: the places where pieces start and stop, and of n + 1 texts the
    number of its first piece."""
    most = int(np.minimum((stops - starts) // piece_bytes + 1, num_pieces).sum())
    firsts, lasts = np.empty(most, np.int64), np.empty(most, np.int64)
    ends = np.zeros(len(starts) + 1, np.int64)
    _cut(data, starts, stops, piece_bytes, num_pieces, firsts, lasts, ends)
    return firsts, lasts, ends


@kernel(types.void(BYTES, _PLACES, _PLACES, types.int64, types.int64, _OUT, _OUT, _OUT))
def _cut(data, starts, stops, piece_bytes, num_pieces, firsts, lasts, ends):  # type: ignore[no-untyped-def]
    found = 0
    for row in range(len(starts)):
        start, stop = starts[row], stops[row]
        size = stop - start
        if size <= piece_bytes * num_pieces:
            count = max(size // piece_bytes, 1)
            first = start
            for number in range(1, count + 1):
                last = start + size * number // count
                while last < stop and (data[last] & 0xC0) == 0x80:
                    last += 1
                if last > first:
                    firsts[found], lasts[found] = first, last
                    found += 1
                first = last
        else:
            step = (size - piece_bytes) // (num_pieces - 1)
            for number in range(num_pieces):
                first = start + number * step
                last = first + piece_bytes
                while first < last and (data[first] & 0xC0) == 0x80:
                    first += 1
                # A character that is cut at the end goes, too.
                lead = last - 1
                while lead > first and (data[lead] & 0xC0) == 0x80:
                    lead -= 1
                code = data[lead]
                width = 1 if code < 0x80 else 2 if code < 0xE0 else 3 if code < 0xF0 else 4
                if lead + width > last:
                    last = lead
                firsts[found], lasts[found] = first, last
                found += 1
        ends[row + 1] = found
