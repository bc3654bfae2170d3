"""The words of texts as hashes alone: one walk over the bytes, each word hashed as it is read.

    hashes, rows = cores_of(texts)   # text i has the words rows[i] to rows[i + 1]

They are the `hash_folded` of `gristmill.text.words` of those words that have a core, in its definitions: what
shingles and n-gram models are made of. Nothing else of a word is kept: some 380 MB/s on one core.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import types

from gristmill.text.kernel import BYTES, OFFSETS, kernel
from gristmill.text.points import (
    ASCII_CLASS,
    ASCII_LOWER,
    FNV_OFFSET,
    FNV_PRIME,
    class_of,
    decode,
    finish,
    lower_of,
)
from gristmill.text.tables import CORE, SPACE, UNIT
from gristmill.text.words import Scratch, text_spans

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

_HASHES, _ROWS = types.Array(types.uint64, 1, "C"), types.Array(types.int64, 1, "C")

# What the loop below asks of an ASCII byte, in one load: lower case in the low 8 bits, then whether it is of
# a core, then space.
_ASCII = (
    ASCII_LOWER | ((ASCII_CLASS & CORE) != 0) * np.uint16(256) | ((ASCII_CLASS & SPACE) != 0) * np.uint16(512)
).astype(np.uint16)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@kernel(types.int64(OFFSETS, OFFSETS, BYTES, _HASHES, _ROWS))
def _folded_words(starts, stops, data, hashes, rows):  # type: ignore[no-untyped-def]
    """Hash the folded core of every word that has one: `hash_folded` of the shared word pass, and nothing
    else of it.

    A core's hash is stored anew at each of its letters; marks after that count only if another letter
    follows. ASCII takes no branches (the end of a word is what a processor cannot guess): a byte that is no
    letter stores into the slot after, which the next word overwrites, and outside of words the factor is 0
    and the hash starts afresh. Unsigned indices, because numba asks of signed ones whether they count from
    the end. `hashes` needs room for two more than there can be words.
    """
    count = _ZERO
    for doc in range(len(starts)):
        rows[doc] = np.int64(count)
        i, stop = np.uint64(starts[doc]), np.uint64(stops[doc])
        h, inside = FNV_OFFSET, _ZERO
        while i < stop:
            first = data[i]
            if first < 0x80:
                entry = np.uint64(_ASCII[first])
                core, space = (entry >> np.uint64(8)) & _ONE, entry >> np.uint64(9)
                ended = inside & space
                inside = core | (inside & (space ^ _ONE))
                mask = _ZERO - inside
                h = (h ^ (entry & np.uint64(255))) * (FNV_PRIME & mask) + (FNV_OFFSET & ~mask)
                hashes[count + (core ^ _ONE)] = h
                count += ended
                i += _ONE
                continue
            point, width = decode(data, np.int64(i), np.int64(stop))
            bits = class_of(point)
            i += np.uint64(width)
            if bits & CORE:
                if bits & UNIT and inside:
                    count += _ONE
                    h = FNV_OFFSET
                h = (h ^ np.uint64(lower_of(point))) * FNV_PRIME
                if point == 0x130:
                    h = (h ^ np.uint64(0x307)) * FNV_PRIME
                hashes[count] = h
                inside = _ONE
            elif inside and not bits & SPACE:
                h = (h ^ np.uint64(point)) * FNV_PRIME
            if inside and bits & (SPACE | UNIT):
                count += _ONE
                h, inside = FNV_OFFSET, _ZERO
        count += inside
    rows[len(starts)] = np.int64(count)
    for place in range(count):
        hashes[place] = finish(hashes[place])
    return np.int64(count)


def cores_of(texts: pa.Array | pa.ChunkedArray, scratch: Scratch | None = None) -> tuple[Hashes, Rows]:
    """Hash the words with a core of an Arrow string column; null has none.

    With a scratch, the hashes last until its next use.
    """
    starts, stops, data = text_spans(texts)
    starts, stops = np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(stops, np.int64)
    # A word by itself takes 3 bytes, any other a byte and what parts it from the next; two for the loop.
    room = int(((stops - starts) // 2 + 1).sum()) + 2
    hashes: Any = (scratch or Scratch()).empty("cores", room, np.uint64)
    rows = np.empty(len(starts) + 1, np.int64)
    count = _folded_words(starts, stops, data, hashes, rows)
    return hashes[:count], rows
