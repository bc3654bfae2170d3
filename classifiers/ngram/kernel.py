"""Scores of words by an n-gram table, compiled: Stupid Backoff, and interpolated Kneser-Ney.

Words go through in blocks. Of a block all n-grams of one length are looked up before those of the next: word
by word each read would wait for the one before, within one length they go on side by side. Only n-grams
whose parts are there are looked up, listed without a branch, because a processor cannot guess which those
are. What the word before found is a word's contexts. Before each text stands a mark, as one more word that
is not scored: nothing before it is a context of what follows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.classifiers.ngram.table_lines import find
from gristmill.splitmix import GOLDEN, MIX_1, MIX_2
from gristmill.text.kernel import BYTES, OFFSETS, kernel, part
from gristmill.text.lanes import address_of

_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_FLOATS = types.Array(types.float64, 1, "C", readonly=True)
_TABLES = types.Array(types.float64, 2, "C", readonly=True)
_OUT = types.Array(types.float64, 1, "C")
_BLOCK = (
    types.Array(types.uint64, 1, "C"), types.Array(types.int32, 1, "C"), types.Array(types.int32, 1, "C"),
    types.Array(types.uint64, 2, "C"), types.Array(types.uint32, 2, "C"), _OUT,
    types.Array(types.int64, 1, "C"),
)  # fmt: skip
_CODES_PER_DOUBLING = 8.0
_S8, _S16, _BYTE = np.uint32(8), np.uint32(16), np.uint32(0xFF)
_S27, _S30, _S31, _THREE = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(3)
_DOC, _AT = 0, 1  # of `place`: the text and the word that come next


class Block(NamedTuple):
    """What is held of a block of words, from 1 on; column 0 is the last word of the block before."""

    words: npt.NDArray[np.uint64]
    since: npt.NDArray[np.int32]  # number of each word in its text, from 1; 0 for the mark before it
    picks: npt.NDArray[np.int32]
    states: npt.NDArray[np.uint64]  # row L: hashes of the n-grams of L words that end with each word
    found: npt.NDArray[np.uint32]  # their codes, 0 where they are not there
    scores: npt.NDArray[np.float64]
    place: npt.NDArray[np.int64]

    @classmethod
    def of(cls, size: int, order: int) -> Block:
        def room(kind: Any) -> Any:
            return np.zeros(size + 1, kind)

        rows = (order + 1, size + 1)
        states, found = np.zeros(rows, np.uint64), np.zeros(rows, np.uint32)
        words, since, picks, scores = map(room, (np.uint64, np.int32, np.int32, np.float64))
        return cls(words, since, picks, states, found, scores, np.zeros(2, np.int64))


@part
def _extend(state, word):  # type: ignore[no-untyped-def]
    mixed = (state ^ word) + GOLDEN
    mixed = (mixed ^ (mixed >> _S30)) * MIX_1
    mixed = (mixed ^ (mixed >> _S27)) * MIX_2
    return mixed ^ (mixed >> _S31)


@part
def _fill(hashes, rows, mark, words, since, place):  # type: ignore[no-untyped-def]
    """Take the next words of the texts, with a mark before each text; return how many they are."""
    size, room = 0, len(words) - 1
    while size < room and place[_DOC] < len(rows) - 1:
        begin, stop = rows[place[_DOC]], rows[place[_DOC] + 1]
        if place[_AT] < begin:  # the mark is due
            size += 1
            words[size], since[size] = mark, 0
            place[_AT] = begin
            continue
        take = min(stop - place[_AT], room - size)
        for k in range(take):
            words[size + 1 + k] = hashes[place[_AT] + k]
            since[size + 1 + k] = place[_AT] - begin + k + 1
        size += take
        place[_AT] += take
        if place[_AT] == stop:
            place[_DOC] += 1
            place[_AT] = stop - 1
    return size


@part
def _look_up(base, num_lines, num_codes, order, size, words, since, picks, states, found):  # type: ignore[no-untyped-def]
    """Find the n-grams that end with each word of a block, length by length."""
    for j in range(1, size + 1):
        states[1, j] = _extend(np.uint64(0), words[j])
        found[1, j] = find(base, num_lines, states[1, j] << _THREE, num_codes)
    for length in range(2, order + 1):
        n = 0
        for j in range(1, size + 1):
            picks[n] = j
            n += (found[length - 1, j - 1] != 0) & (found[length - 1, j] != 0) & (since[j] != 0)
            found[length, j] = 0
        for k in range(n):
            j = picks[k]
            states[length, j] = _extend(states[length - 1, j - 1], words[j])
            key = (states[length, j] << _THREE) | np.uint64(length - 1)
            found[length, j] = find(base, num_lines, key, num_codes)


@part
def _write(size, order, since, states, found, scores, out, at):  # type: ignore[no-untyped-def]
    """Put a block's scores behind those before, and make its last word the one before the next block."""
    for j in range(1, size + 1):
        out[at] = scores[j]
        at += since[j] != 0
    for length in range(1, order + 1):
        states[length, 0], found[length, 0] = states[length, size], found[length, size]
    return at


@kernel(
    types.void(
        _HASHES, OFFSETS, types.uint64, BYTES, types.int64, types.int64, types.float64, types.float64,
        *_BLOCK, _OUT,
    )
)  # fmt: skip
def stupid_backoff(  # type: ignore[no-untyped-def]
    hashes, rows, mark, lines, num_lines, order, log_backoff, log_words,
    words, since, picks, states, found, scores, place, out,
):  # fmt: skip
    """Write the log2 score of every word of the texts, and one number more; counts are codes of eight steps
    to a doubling."""
    base, at = address_of(lines), np.int64(0)
    place[_DOC], place[_AT] = 0, -1
    while True:
        size = _fill(hashes, rows, mark, words, since, place)
        if size == 0:
            return
        _look_up(base, np.uint64(num_lines), 1, order, size, words, since, picks, states, found)
        for j in range(1, size + 1):
            code = np.int64(found[1, j] & _BYTE)
            scores[j] = (code - (code > 0)) / _CODES_PER_DOUBLING - log_words
        for length in range(2, order + 1):
            for j in range(1, size + 1):
                whole = np.int64(found[length, j] & _BYTE)
                context = np.int64(found[length - 1, j - 1] & _BYTE)
                seen = min((whole - context) / _CODES_PER_DOUBLING, 0.0)
                off = log_backoff if since[j] >= length else 0.0
                scores[j] = seen if whole else scores[j] + off
        at = _write(size, order, since, states, found, scores, out, at)


@kernel(
    types.void(
        _HASHES, OFFSETS, types.uint64, BYTES, types.int64, types.int64, types.float64, _FLOATS, _FLOATS,
        _TABLES, _TABLES, *_BLOCK, _OUT,
    )
)  # fmt: skip
def kneser_ney(  # type: ignore[no-untyped-def]
    hashes, rows, mark, lines, num_lines, order, rest, shares, inverse, gains, offs,
    words, since, picks, states, found, scores, place, out,
):  # fmt: skip
    """Write the probability of every word of the texts, and one number more; the three codes of an n-gram
    choose from `gains` (and `shares` of single words), `inverse` and `offs`, see `NgramModel`."""
    base, at = address_of(lines), np.int64(0)
    place[_DOC], place[_AT] = 0, -1
    while True:
        size = _fill(hashes, rows, mark, words, since, place)
        if size == 0:
            return
        _look_up(base, np.uint64(num_lines), 3, order, size, words, since, picks, states, found)
        for j in range(1, size + 1):
            scores[j] = rest + shares[found[1, j] & _BYTE]
        for length in range(2, order + 1):
            n = 0
            for j in range(1, size + 1):
                picks[n] = j
                n += (found[length - 1, j - 1] & np.uint32(0xFF00) != 0) & (since[j] != 0)
            for k in range(n):
                j = picks[k]
                context = found[length - 1, j - 1]
                shorter = scores[j] * offs[length, (context >> _S16) & _BYTE]
                own = gains[length, found[length, j] & _BYTE]
                scores[j] = (shorter + own) * inverse[(context >> _S8) & _BYTE]
        at = _write(size, order, since, states, found, scores, out, at)


@kernel(types.void(_HASHES, BYTES, types.int64, types.int64, types.Array(types.boolean, 1, "C")))
def known_words(hashes, lines, num_lines, num_codes, out):  # type: ignore[no-untyped-def]
    """Say of each word whether it was counted."""
    base = address_of(lines)
    for n in range(len(hashes)):
        state = _extend(np.uint64(0), hashes[n])
        out[n] = find(base, np.uint64(num_lines), state << _THREE, num_codes) != 0
