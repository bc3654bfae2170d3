"""Applying edits: texts are copied without what is deleted and with what is put in place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.filters.edits import Edits, Int64s
from gristmill.text.kernel import BYTES, OFFSETS, kernel, part
from gristmill.text.lanes import address_of, copy_bytes

_U8 = types.Array(types.uint8, 1, "C")
_READ = types.Array(types.int64, 1, "C", readonly=True)


@part
def _copy(data, start, stop, out, at):  # type: ignore[no-untyped-def]
    copy_bytes(address_of(data) + np.uint64(start), address_of(out) + np.uint64(at), stop - start)
    return at + stop - start


@kernel(types.void(OFFSETS, OFFSETS, BYTES, _READ, _READ, _READ, _READ, _READ, BYTES, _READ, _U8))
def _apply(starts, stops, data, document, first, last, text, bounds, replacements, offsets, out):  # type: ignore[no-untyped-def]
    edit = 0
    at = np.int64(0)
    for doc in range(len(starts)):
        position = starts[doc]
        while edit < len(document) and document[edit] == doc:
            at = _copy(data, position, starts[doc] + first[edit], out, at)
            at = _copy(replacements, bounds[text[edit]], bounds[text[edit] + 1], out, at)
            position = starts[doc] + last[edit]
            edit += 1
        at = _copy(data, position, stops[doc], out, at)


def apply_edits(
    starts: Int64s, stops: Int64s, data: npt.NDArray[np.uint8], edits: Edits
) -> tuple[Int64s, npt.NDArray[np.uint8]]:
    """Return (offsets, data) of the texts after the edits."""
    sizes = stops - starts
    np.add.at(sizes, edits.document, edits.inserted_bytes - edits.deleted_bytes)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    out = np.empty(int(offsets[-1]), np.uint8)
    bounds = np.concatenate([[0], np.cumsum([len(text) for text in edits.texts])]).astype(np.int64)
    replacements = np.frombuffer(b"".join(edits.texts), np.uint8)
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    _apply(
        starts,
        stops,
        data,
        edits.document,
        edits.start,
        edits.end,
        edits.text,
        bounds,
        replacements,
        offsets,
        out,
    )
    return offsets, out
