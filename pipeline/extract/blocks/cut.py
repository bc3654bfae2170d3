"""Choose a page's blocks: those that maximise the expected F1 of the text against the main text nobody has
seen."""

# mypy: disable-error-code="no-untyped-def,assignment"
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing

PRIOR_WORDS = (
    20.0  # added to the denominator, so that a page without main text keeps nothing for a stray block
)

_LEVELS = 1024  # probabilities are cut at a multiple of 1/1024: counting beats sorting
MIN_REPEATED_WORDS = 8  # pages repeat whole paragraphs for narrow screens; shorter lines may recur in earnest


class Choice(NamedTuple):
    """Of each block: whether it is kept, the probability that it is main text, and whether (1.0) its text
    came before."""

    kept: npt.NDArray[np.bool_]
    probabilities: npt.NDArray[np.float32]
    repeated: npt.NDArray[np.float32]


@njit_borrowing
def _best_level(gains, expected, words, recall_weight):
    """Return the level of probability from which keeping blocks maximises the expected F-beta."""
    square = recall_weight * recall_weight
    most, best, gained, taken = 0.0, _LEVELS, 0.0, 0.0
    for level in range(_LEVELS - 1, -1, -1):
        if words[level] == 0:
            continue
        gained += gains[level]
        taken += words[level]
        value = (1.0 + square) * gained / (taken + square * expected + PRIOR_WORDS)
        if value > most:
            most, best = value, level
    return best


@njit(cache=True, nogil=True)
def choose(probabilities, blocks, repeated, recall_weight):
    """Return which blocks of a page to keep, bool.

    By falling probability p, keep those that maximise the expected F-beta, (1 + beta^2) sum(p n) / (sum(n) +
    beta^2 total(p n) + prior), with n the words of a block and beta = `recall_weight`: above 1 keeps more,
    below 1 less. Of equal blocks of at least `MIN_REPEATED_WORDS` only the first can be kept: `repeated`, a
    float32 column, marks the others.
    """
    num = probabilities.size
    levels, kept = np.empty(num, dtype=np.int64), np.zeros(num, dtype=np.bool_)
    gains, words = np.zeros(_LEVELS, dtype=np.float64), np.zeros(_LEVELS, dtype=np.float64)
    expected = 0.0
    for b in range(num):
        repeats = repeated[b] > 0 and blocks[b, L.WORDS] >= MIN_REPEATED_WORDS
        levels[b] = -1 if repeats else min(np.int64(probabilities[b] * _LEVELS), _LEVELS - 1)
        if not repeats:
            gain = probabilities[b] * np.float64(blocks[b, L.WORDS])
            expected += gain
            gains[levels[b]] += gain
            words[levels[b]] += blocks[b, L.WORDS]
    best = _best_level(gains, expected, words, recall_weight)
    for b in range(num):
        kept[b] = levels[b] >= best
    return kept
