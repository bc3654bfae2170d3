"""The tables of eldc 0.4, read in place: what n-grams say of 60 languages, and which characters are letters.

eldc answers one text a call, from tables that lie one behind another in its compiled module: lower case,
marks of CJK, of letters, then scores of n-grams and a hash table of their places. The module's file is
mapped, so that they are in memory once. Where another build lays them otherwise there are none to read.
"""

from __future__ import annotations

import hashlib
import mmap
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_SCORES_BEGIN = bytes.fromhex("00b5304700612c47003e2a4700f52847")
_SLOTS_BEGIN = bytes.fromhex("dab916286c2f0201") + bytes(24) + bytes.fromhex("deae5b0729821301")
_SCORE_BYTES, _NUM_SLOTS = 6_431_360, 1 << 21
_LOWER, _BITS = 1920, 8192  # code points of two bytes; a bit for each code point below 2**16
# sha256 of what lies before the scores
_SMALL = "56aac2d9f155f6602be3d3d7a4703b2338db88027863f54c7ca5da3459363363"
NUM_LANGUAGES = 60


class Tables(NamedTuple):
    """`slots` hold the upper half of an n-gram's hash in their low half, where its scores begin and how many
    there are in their high one; a score is a float whose lowest byte is the language's number. `least` is the
    score below which an answer is not reliable."""

    lower: npt.NDArray[np.uint16]
    cjk: npt.NDArray[np.uint8]
    letters: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.uint32]
    slots: npt.NDArray[np.uint64]
    least: npt.NDArray[np.float32]


def open_tables(eldc: Any) -> Tables | None:
    """Map the tables of an imported `eldc`; None where they do not lie as those of 0.4.0 do."""
    with Path(eldc._eldc.__file__).open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    at = whole.find(_SCORES_BEGIN)
    small = 2 * _LOWER + 2 * _BITS
    slots = at + _SCORE_BYTES
    averages = slots + 8 * _NUM_SLOTS
    if (
        at < small
        or at % 4
        or slots % 8
        or averages + 4 * NUM_LANGUAGES > len(whole)
        or sys.byteorder != "little"
    ):
        return None
    if whole[slots : slots + len(_SLOTS_BEGIN)] != _SLOTS_BEGIN:
        return None
    if hashlib.sha256(whole[at - small : at]).hexdigest() != _SMALL or len(eldc.LANGUAGES) != NUM_LANGUAGES:
        return None

    def read(kind: Any, count: int, place: int) -> npt.NDArray[Any]:
        return np.frombuffer(whole, kind, count, place)

    return Tables(
        read(np.uint16, _LOWER, at - small),
        read(np.uint8, _BITS, at - 2 * _BITS),
        read(np.uint8, _BITS, at - _BITS),
        read(np.uint32, _SCORE_BYTES // 4, at),
        read(np.uint64, _NUM_SLOTS, slots),
        np.float32(0.85) * read(np.float32, NUM_LANGUAGES, averages),
    )
