"""What the bytes of a column of texts show: how much of each is no text (`sources.broken`, by a kernel)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, kernel, part
from gristmill.text.lanes import LANES, between, first_bits, window
from gristmill.text.words import text_spans

_PLACES = types.Array(types.int64, 1, "C", readonly=True)
_NUMBERS = types.Array(types.float64, 1, "C")
_FEW = 100  # as in `sources.broken`: texts in which they can be no more than one in a hundred have none


def broken_fractions(texts: pa.LargeStringArray) -> npt.NDArray[np.float64]:
    """Return `broken_fraction` of each text."""
    starts, stops, data = text_spans(texts)
    out = np.zeros(len(starts), np.float64)
    _broken(
        data,
        np.ascontiguousarray(starts),
        np.ascontiguousarray(stops),
        _FEW,
        np.empty(LANES // 8, np.uint64),
        out,
    )
    return out


@part
def _may_be_broken(data, start, stop, room):  # type: ignore[no-untyped-def]
    """Whether a text has a byte that one which is no text has: most have none, which 64 at a time tell."""
    for i in range(start, stop, LANES):
        place = window(data, i, stop, room)
        odd = (
            between(place, 0, 8) | between(place, 14, 31) | between(place, 11, 11) | between(place, 127, 127)
        )
        odd |= between(place, 0xC2, 0xC2) | between(place, 0xEF, 0xEF)
        if odd & first_bits(min(stop - i, LANES)):
            return True
    return False


@kernel(types.void(BYTES, _PLACES, _PLACES, types.int64, types.Array(types.uint64, 1, "C"), _NUMBERS))
def _broken(data, starts, stops, few, room, out):  # type: ignore[no-untyped-def]
    for row in range(len(starts)):
        start, stop = starts[row], stops[row]
        if not _may_be_broken(data, start, stop, room):
            continue
        controls = 0  # C0 but for tab, line feed, form feed and carriage return; DEL
        points = 0
        for i in range(start, stop):
            code = data[i]
            points += (code & 0xC0) != 0x80
            controls += (code < 32 and code != 9 and code != 10 and code != 12 and code != 13) or code == 127
        suspects, broken = controls, controls
        for i in range(start, stop - 1):
            if data[i] == 0xC2:
                suspects += 1
                broken += data[i + 1] < 0xA0
            elif data[i] == 0xEF and i + 2 < stop and data[i + 1] == 0xBF and data[i + 2] == 0xBD:
                suspects += 1
                broken += 1
        if suspects * few >= points:
            out[row] = broken / points
