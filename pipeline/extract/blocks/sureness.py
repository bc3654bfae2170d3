"""Set a page's odds by how sure the page is of what it keeps.

Trees judge blocks one by one, and their probabilities hold over all pages. On one page they lean together:
where the kept blocks are nearly certain, a block at .5 is main text in three of ten cases, and where they are
at .6, a block at .3 is in half of them.
"""

# mypy: disable-error-code="no-untyped-def,assignment,operator"
from __future__ import annotations

import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.compiled import njit_borrowing

# Above a mean probability of .88 a page's log-odds fall by ten times what it has more, by at most 1.2; below
# .85 they rise by what it has less. By cross-validation, +.0009 of F1; no rise, a fall of six times or of at
# most .6, and .91 for .88 are worse by at most .0007.
_SURE, _FALL, _MAX_FALL = 0.88, 10.0, 1.2
_UNSURE, _RISE = 0.85, 1.0


@njit(cache=True, nogil=True)
def by_sureness(probabilities, blocks, kept):
    """Return the probabilities of a page's blocks with the log-odds that the mean of those kept, by words,
    gives to all."""
    words, gain = np.int64(0), 0.0
    for b in range(kept.size):
        if kept[b]:
            words += blocks[b, L.WORDS]
            gain += probabilities[b] * np.float64(blocks[b, L.WORDS])
    if words == 0:
        return probabilities
    mean = gain / words
    fall = min(_FALL * max(mean - _SURE, 0.0), _MAX_FALL)
    factor = np.float32(np.exp(_RISE * max(_UNSURE - mean, 0.0) - fall))
    moved = np.empty_like(probabilities)
    for b in range(kept.size):
        moved[b] = times_odds(probabilities[b], factor)
    return moved


@njit_borrowing
def times_odds(probability, factor):
    """Return a probability whose odds are `factor` times as high."""
    return factor * probability / (np.float32(1) - probability + factor * probability)
