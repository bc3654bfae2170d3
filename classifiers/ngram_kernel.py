"""Scores of words by an n-gram table, compiled: Stupid Backoff, and interpolated Kneser-Ney.

A table is sorted keys with an index over their upper bits, so that a key is found with two or three reads. A
word's n-grams are looked up from the shortest on, and no further than one that is not there: of an n-gram
that was counted often enough to stay, all parts were. What the word before found is a word's contexts.
"""

from __future__ import annotations

import numpy as np
from numba import types

from gristmill.splitmix import GOLDEN, MIX_1, MIX_2
from gristmill.text.kernel import BYTES, kernel, part

_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_FLOATS = types.Array(types.float64, 1, "C", readonly=True)
_OUT = types.Array(types.float64, 1, "C")
_FLAGS = types.Array(types.boolean, 1, "C")
_STATES = types.Array(types.uint64, 2, "C")
_PLACES = types.Array(types.int64, 2, "C")
_CODES_PER_DOUBLING = 8.0
_S27, _S30, _S31, _THREE = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(3)


@part
def _extend(state, word):  # type: ignore[no-untyped-def]
    mixed = (state ^ word) + GOLDEN
    mixed = (mixed ^ (mixed >> _S30)) * MIX_1
    mixed = (mixed ^ (mixed >> _S27)) * MIX_2
    return mixed ^ (mixed >> _S31)


@part
def _find(keys, starts, shift, state, length):  # type: ignore[no-untyped-def]
    """Return the place of an n-gram in the table, -1 where it is not there."""
    key = (state << _THREE) | np.uint64(length - 1)
    bucket = np.int64(key >> shift) if len(starts) > 2 else 0
    for place in range(np.int64(starts[bucket]), np.int64(starts[bucket + 1])):
        if keys[place] == key:
            return place
    return np.int64(-1)


@part
def _look_up(keys, starts, shift, hashes, first, low, size, order, begin_state, begin_place, states, places):  # type: ignore[no-untyped-def]
    """Find the n-grams that end with each word of a block, length by length; row L of states and places is of
    n-grams of L words, column 0 of the word before the block.

    Word by word each read would wait for the one before; within one length they go on side by side.
    """
    for j in range(1, size + 1):
        states[1, j] = _extend(np.uint64(0), hashes[low + j - 1])
        places[1, j] = _find(keys, starts, shift, states[1, j], 1)
    for length in range(2, order + 1):
        for j in range(1, size + 1):
            state, place = states[length - 1, j - 1], places[length - 1, j - 1]
            if first[low + j - 1]:
                state = begin_state
                place = begin_place if length == 2 else np.int64(-1)
            if place >= 0 and places[length - 1, j] >= 0:
                states[length, j] = _extend(state, hashes[low + j - 1])
                places[length, j] = _find(keys, starts, shift, states[length, j], length)
            else:
                places[length, j] = -1


@part
def _go_on(states, places, size, order):  # type: ignore[no-untyped-def]
    """Make a block's last word the one before the next block."""
    for length in range(1, order + 1):
        states[length, 0], places[length, 0] = states[length, size], places[length, size]


@kernel(
    types.void(
        _FLAGS, _HASHES, _HASHES, _HASHES, types.uint64, BYTES, types.int64, types.float64, types.float64,
        _STATES, _PLACES, _OUT,
    )
)  # fmt: skip
def stupid_backoff(  # type: ignore[no-untyped-def]
    first, hashes, keys, starts, shift, codes, order, log_backoff, log_words, states, places, out
):
    """Write the log2 score of every word; `first` marks those that begin a text, counts are codes of eight
    steps to a doubling."""
    block = states.shape[1] - 1
    done = 0  # words of this text before the one at hand
    for low in range(0, len(hashes), block):
        size = min(block, len(hashes) - low)
        _look_up(
            keys, starts, shift, hashes, first, low, size, order, np.uint64(0), np.int64(-1), states, places
        )
        for j in range(1, size + 1):
            if first[low + j - 1]:
                done = 0
            score = -log_words
            if places[1, j] >= 0:
                score += (codes[places[1, j]] - 1) / _CODES_PER_DOUBLING
            for length in range(2, min(order, done + 1) + 1):
                if places[length, j] >= 0:
                    whole = np.int64(codes[places[length, j]])
                    context = np.int64(codes[places[length - 1, j - 1]])
                    score = min((whole - context) / _CODES_PER_DOUBLING, 0.0)
                else:
                    score += log_backoff
            out[low + j - 1] = score
            done += 1
        _go_on(states, places, size, order)


@kernel(
    types.void(
        _FLAGS, _HASHES, _HASHES, _HASHES, types.uint64, BYTES, types.int64, _FLOATS, _FLOATS,
        types.float64, types.float64, types.uint64, _STATES, _PLACES, _OUT,
    )
)  # fmt: skip
def kneser_ney(  # type: ignore[no-untyped-def]
    first, hashes, keys, starts, shift, codes, order, values, discounts, total, num_types,
    begin, states, places, out,
):  # fmt: skip
    """Write the probability of every word; `codes` are three to an n-gram, `values` the counts they stand
    for."""
    # What the unigrams' discount leaves is shared by all words, and by one that was never seen.
    rest = discounts[0] * num_types / total / (num_types + 1.0)
    begin_state = _extend(np.uint64(0), begin)
    begin_place = _find(keys, starts, shift, begin_state, 1)
    block = states.shape[1] - 1
    for low in range(0, len(hashes), block):
        size = min(block, len(hashes) - low)
        _look_up(
            keys, starts, shift, hashes, first, low, size, order, begin_state, begin_place, states, places
        )
        for j in range(1, size + 1):
            chance = rest
            if places[1, j] >= 0:
                chance += max(values[codes[3 * places[1, j]]] - discounts[0], 0.0) / total
            for length in range(2, order + 1):
                context = places[length - 1, j - 1]
                if first[low + j - 1]:
                    context = begin_place if length == 2 else np.int64(-1)
                if context < 0:
                    break
                seen = values[codes[3 * context + 1]]
                if seen <= 0.0:
                    break
                off = discounts[length - 1]
                chance *= off * values[codes[3 * context + 2]] / seen
                if places[length, j] >= 0:
                    chance += max(values[codes[3 * places[length, j]]] - off, 0.0) / seen
            out[low + j - 1] = min(chance, 1.0)
        _go_on(states, places, size, order)
