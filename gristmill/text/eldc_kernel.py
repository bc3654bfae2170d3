"""What eldc 0.4 says of many pieces of text at once: its own sums (`detect_details`), to the bit.

    told = tell(data, firsts, lasts, tables)
    told.codes[i], told.scores[i]     # the language's number in `eldc.LANGUAGES`, -1 where eldc is not sure

The scores of a piece's n-grams, each taken once, are added up by language. All slots of a piece are read
before any is judged: the table is larger than a processor's cache, and so its latencies overlap.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.text.eldc_grams import BLOCKS, LOW, MOST_BYTES, MOST_GRAMS, SET, distinct, gather, to_lower
from gristmill.text.eldc_tables import NUM_LANGUAGES, Tables
from gristmill.text.kernel import BYTES, OFFSETS, kernel, part

_SCALE = np.float32(0.0001)
_GAP = np.float32(0.02)
_I64, _F32 = types.Array(types.int64, 1, "C"), types.Array(types.float32, 1, "C")
_U8, _U64 = types.Array(types.uint8, 1, "C"), types.Array(types.uint64, 1, "C")


def _fixed(kind: types.Type) -> types.Array:
    return types.Array(kind, 1, "C", readonly=True)


class Told(NamedTuple):
    """Of each piece: the language's number or -1, its score, and the piece's characters."""

    codes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    chars: npt.NDArray[np.int64]


def tell(
    data: npt.NDArray[np.uint8], firsts: npt.NDArray[np.int64], lasts: npt.NDArray[np.int64], tables: Tables
) -> Told:
    """Ask of the pieces data[firsts[i]:lasts[i]], which are UTF-8."""
    num = len(firsts)
    told = Told(np.empty(num, np.int64), np.empty(num, np.float32), np.empty(num, np.int64))
    room, marks = np.zeros(64 * BLOCKS, np.uint8), np.empty(3 * BLOCKS, np.uint64)
    seen, grams = np.empty(SET, np.uint16), np.empty(2 * MOST_GRAMS + 1, np.uint64)
    sums = np.empty(NUM_LANGUAGES, np.float32)
    _tell(data, firsts, lasts, *tables, room, marks, seen, grams, sums, *told)
    return told


@part
def _sum(count, grams, slots, scores, sums):  # type: ignore[no-untyped-def]
    """Add up what the n-grams say of each language; `grams` holds hashes, and then the slots they fall on."""
    mask = np.uint64(len(slots) - 1)
    for i in range(count):
        grams[MOST_GRAMS + i] = slots[np.int64(grams[i] & mask)]
    found = 0
    for i in range(count):
        h, slot = grams[i], grams[MOST_GRAMS + i]
        own = h >> np.uint64(32)
        own = own if own else np.uint64(1)
        place = h & mask
        while slot & LOW != own and slot & LOW:
            place = (place + np.uint64(1)) & mask
            slot = slots[np.int64(place)]
        if slot & LOW:
            grams[found] = slot >> np.uint64(32)
            found += 1
    for i in range(found):
        grams[MOST_GRAMS + i] = scores[np.int64(grams[i] & np.uint64(0xFFFFFF))]
    for language in range(len(sums)):
        sums[language] = 1
    for i in range(found):
        at, many = np.int64(grams[i] & np.uint64(0xFFFFFF)), np.int64(grams[i] >> np.uint64(24))
        for j in range(at, at + many):
            score = scores[j]
            sums[score & np.uint32(0xFF)] += np.uint32(score & np.uint32(0xFFFFFF00)).view(np.float32)


@kernel(
    types.void(
        *(BYTES, OFFSETS, OFFSETS),
        *(_fixed(kind) for kind in (types.uint16, types.uint8, types.uint8, types.uint32, types.uint64)),
        *(_F32, _U8, _U64, types.Array(types.uint16, 1, "C"), _U64, _F32),
        *(_I64, _F32, _I64),
    )
)
def _tell(  # type: ignore[no-untyped-def]
    data,
    firsts,
    lasts,
    lower,
    cjk,
    letters,
    scores,
    slots,
    least,
    room,
    marks,
    seen,
    grams,
    sums,
    codes,
    shares,
    chars,
):
    for piece in range(len(firsts)):
        first, last = firsts[piece], lasts[piece]
        tails = zeros = 0
        for i in range(first, last):
            tails += data[i] & 0xC0 == 0x80
            zeros += data[i] == 0
        chars[piece] = last - first - tails
        codes[piece], shares[piece] = -1, 0
        if zeros:
            last = first
            while data[last]:
                last += 1
        seen_bytes = min(last - first, MOST_BYTES + 2)
        length = min(seen_bytes, MOST_BYTES)
        while 0 < length < seen_bytes and data[first + length] & 0xC0 == 0x80:
            length -= 1
        to_lower(data, first, length, lower, room)
        count = distinct(gather(room, length, cjk, letters, marks, grams), grams, seen)
        if count < 3:
            continue
        _sum(count, grams, slots, scores, sums)
        best = second = -1
        for language in range(len(sums)):
            if sums[language] > 1 and (best < 0 or sums[language] > sums[best]):
                best, second = language, best
            elif sums[language] > 1 and (second < 0 or sums[language] > sums[second]):
                second = language
        if best < 0:
            continue
        scale = -_SCALE / np.float32(count)
        share = np.float32(1) - np.float32(math.exp(np.float32(scale * sums[best])))
        other = np.float32(0)
        if second >= 0:
            other = np.float32(1) - np.float32(math.exp(np.float32(scale * sums[second])))
        if share >= least[best] and share - other > _GAP:
            codes[piece], shares[piece] = best, share
