"""Scores of words by an n-gram table, compiled: Stupid Backoff, and interpolated Kneser-Ney.

A table is sorted keys with an index over their upper bits, so that a key is found with two or three reads. A
word's n-grams are looked up from the shortest on, and no further than one that is not there: of an n-gram
that was counted often enough to stay, all parts were. What the word before found is its contexts.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from gristmill.classifiers.ngrams import GOLDEN, MIX_1, MIX_2
from gristmill.text.kernel import BYTES, OFFSETS, kernel, part

_HASHES = types.Array(types.uint64, 1, "C", readonly=True)
_FLOATS = types.Array(types.float64, 1, "C", readonly=True)
_OUT = types.Array(types.float64, 1, "C")
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
def _look_up(keys, starts, shift, word, order, states, places, now, before):  # type: ignore[no-untyped-def]
    """Find the n-grams that end with a word, given those that ended with the word before; row L of states and
    places is of the n-gram of L words."""
    going = True
    for length in range(1, order + 1):
        if length == 1:
            states[now, 1] = _extend(np.uint64(0), word)
            places[now, 1] = _find(keys, starts, shift, states[now, 1], 1)
        elif going and places[before, length - 1] >= 0:
            states[now, length] = _extend(states[before, length - 1], word)
            places[now, length] = _find(keys, starts, shift, states[now, length], length)
        else:
            places[now, length] = -1
        going = places[now, length] >= 0


@kernel(
    types.void(
        OFFSETS, _HASHES, _HASHES, _HASHES, types.uint64, BYTES, types.int64, types.float64, types.float64,
        _STATES, _PLACES, _OUT,
    )
)  # fmt: skip
def stupid_backoff(  # type: ignore[no-untyped-def]
    rows, hashes, keys, starts, shift, codes, order, log_backoff, log_words, states, places, out
):
    """Write the log2 score of every word; counts are codes of eight steps to a doubling."""
    for doc in range(len(rows) - 1):
        now = 0
        for length in range(order + 1):
            places[0, length] = places[1, length] = -1
        for i in range(rows[doc], rows[doc + 1]):
            now = 1 - now
            _look_up(keys, starts, shift, hashes[i], order, states, places, now, 1 - now)
            score = -log_words
            if places[now, 1] >= 0:
                score += (codes[places[now, 1]] - 1) / _CODES_PER_DOUBLING
            for length in range(2, min(order, i - rows[doc] + 1) + 1):
                if places[now, length] >= 0:
                    whole = np.int64(codes[places[now, length]])
                    context = np.int64(codes[places[1 - now, length - 1]])
                    score = min((whole - context) / _CODES_PER_DOUBLING, 0.0)
                else:
                    score += log_backoff
            out[i] = score


@kernel(
    types.void(
        OFFSETS, _HASHES, _HASHES, _HASHES, types.uint64, BYTES, BYTES, BYTES, types.int64, _FLOATS, _FLOATS,
        types.float64, types.float64, types.uint64, _STATES, _PLACES, _OUT,
    )
)  # fmt: skip
def kneser_ney(  # type: ignore[no-untyped-def]
    rows, hashes, keys, starts, shift, codes, totals, followers, order, values, discounts, total, num_types,
    begin, states, places, out,
):  # fmt: skip
    """Write the log2 probability of every word; `values` are the counts that codes stand for."""
    # What the unigrams' discount leaves is shared by all words, and by one that was never seen.
    rest = discounts[0] * num_types / total / (num_types + 1.0)
    for doc in range(len(rows) - 1):
        now = 0
        for length in range(order + 1):
            places[0, length] = places[1, length] = -1
        if order > 1:
            states[0, 1] = _extend(np.uint64(0), begin)
            places[0, 1] = _find(keys, starts, shift, states[0, 1], 1)
        for i in range(rows[doc], rows[doc + 1]):
            now = 1 - now
            _look_up(keys, starts, shift, hashes[i], order, states, places, now, 1 - now)
            chance = rest
            if places[now, 1] >= 0:
                chance += max(values[codes[places[now, 1]]] - discounts[0], 0.0) / total
            for length in range(2, order + 1):
                context = places[1 - now, length - 1]
                if context < 0:
                    break
                seen = values[totals[context]]
                if seen <= 0.0:
                    break
                off = discounts[length - 1]
                lower = off * values[followers[context]] / seen * chance
                chance = lower
                if places[now, length] >= 0:
                    chance += max(values[codes[places[now, length]]] - off, 0.0) / seen
            out[i] = math.log2(min(chance, 1.0))
