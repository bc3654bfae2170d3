"""Evaluate gradient-boosted trees by bit masks (QuickScorer, Lucchese et al. 2015), 256 blocks at a time.

A tree of at most 32 leaves is a list of nodes in any order. Where a block is above a node's threshold, the
leaves to the node's left are out of its reach; what is left of 32 bits after all nodes has the block's leaf
as its lowest bit (Lucchese et al., QuickScorer, 2015). There is no branch on the data and no chain of loads,
so that the loops over blocks compile to vectors.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def,assignment"
import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks.compiled import njit_borrowing

MAX_LEAVES = 32
EARLY_TREES = 45  # after so many trees a hopeless block is not followed further
_HOPELESS = -2.5  # log-odds at that tree; of such blocks, half of all, one in 2,000 would end above .2
# blocks times trees: beyond 8,000 blocks a page gets fewer trees, so that its time stays bounded
MAX_STEPS = 1_500_000
_TILE = 256  # blocks whose features stay in cache while all trees go over them
LANES = 16  # blocks of a page are filled up to a multiple of these
_NEIGHBOUR = np.float32(0.1)  # of four weights tried in cross-validation the best, by .002 of F1 over none
_ALL = np.uint32(0xFFFFFFFF)
_DE_BRUIJN, _DE_BRUIJN_SHIFT = (
    np.uint32(0x077CB531),
    np.uint32(27),
)  # a single bit times this has its own number on top


def leaf_slot(leaf: int) -> int:
    """Return where the value of a tree's leaf, counted from the left, lies among its 32."""
    return ((1 << leaf) * int(_DE_BRUIJN) & int(_ALL)) >> int(_DE_BRUIJN_SHIFT)


@njit_borrowing
def _strike(threshold, kept, column, reachable, width):
    """Clear the bits of the leaves that blocks above a node's threshold cannot reach."""
    for r in range(width):
        reachable[r] &= kept if column[r] > threshold else _ALL


@njit_borrowing
def _strike_four(thresholds, kept, features, node, x, at, reachable, width):
    """The same for four nodes at once, so that the bits are loaded and stored once."""
    first, second, third, fourth = (
        x[features[node], at:],
        x[features[node + 1], at:],
        x[features[node + 2], at:],
        x[features[node + 3], at:],
    )
    above_first, above_second, above_third, above_fourth = (
        thresholds[node],
        thresholds[node + 1],
        thresholds[node + 2],
        thresholds[node + 3],
    )
    kept_first, kept_second, kept_third, kept_fourth = (
        kept[node],
        kept[node + 1],
        kept[node + 2],
        kept[node + 3],
    )
    for r in range(width):
        reachable[r] &= (
            (kept_first if first[r] > above_first else _ALL)
            & (kept_second if second[r] > above_second else _ALL)
            & (kept_third if third[r] > above_third else _ALL)
            & (kept_fourth if fourth[r] > above_fourth else _ALL)
        )


@njit_borrowing
def _find_leaves(reachable, slots, width):
    """Find the slot of the leftmost leaf each block can reach."""
    for r in range(width):
        lowest = np.uint32(reachable[r] & (~reachable[r] + np.uint32(1)))
        slots[r] = np.uint32(lowest * _DE_BRUIJN) >> _DE_BRUIJN_SHIFT


@njit_borrowing
def _add_trees(starts, features, thresholds, kept, leaves, first, end, x, at, reachable, slots, sums, width):
    """Add some trees to the sums of the blocks that stand side by side in `x` from `at` on."""
    for t in range(first, end):
        for r in range(width):
            reachable[r] = _ALL
        node, after = starts[t], starts[t + 1]
        while node + 4 <= after:
            _strike_four(thresholds, kept, features, node, x, at, reachable, width)
            node += 4
        while node < after:
            _strike(thresholds[node], kept[node], x[features[node], at:], reachable, width)
            node += 1
        _find_leaves(reachable, slots, width)
        for r in range(width):
            sums[r] += leaves[t, slots[r]]


@njit_borrowing
def _hopeful(scores, num, runs):
    """List the runs of `LANES` blocks some of which have hope; returns how many there are."""
    some = 0
    for start in range(0, scores.size, LANES):
        hopes = False
        for r in range(start, min(start + LANES, num)):
            hopes |= scores[r] > _HOPELESS
        runs[some] = start
        some += hopes
    return some


@njit_borrowing
def _smooth(scores):
    """Lean each block's log-odds a little towards its neighbours', in place; main text comes in runs."""
    before = scores[0]
    for r in range(scores.size):
        own, after = scores[r], scores[min(r + 1, scores.size - 1)]
        scores[r] = (own + _NEIGHBOUR * (before + after)) / (1 + 2 * _NEIGHBOUR)
        before = own


@njit(cache=True, nogil=True)
def probabilities(x, num, starts, features, thresholds, kept, leaves):
    """Return the probability of each of a page's `num` blocks, in order, to be main text, float32; the sum of
    leaf values is its log-odds.

    `x` is what `features.measure` returns. Runs of `LANES` blocks some of which have hope are put side by
    side for the trees after the first ones; a hopeless block's sum is about where these would have taken it.
    """
    scores = np.zeros(x.shape[1], dtype=np.float32)
    num_trees = min(starts.size - 1, max(EARLY_TREES, MAX_STEPS // max(num, 1)))
    reachable, slots = np.empty(_TILE, dtype=np.uint32), np.empty(_TILE, dtype=np.uint64)
    for at in range(0, scores.size, _TILE):
        _add_trees(
            starts, features, thresholds, kept, leaves, 0, min(EARLY_TREES, num_trees), x, at, reachable,
            slots, scores[at:], min(scores.size - at, _TILE),
        )  # fmt: skip
    if num_trees > EARLY_TREES:
        early, runs = scores.copy(), np.empty(scores.size // LANES + 1, dtype=np.int64)
        some = _hopeful(scores, num, runs)
        tile = np.empty((x.shape[0], min(some * LANES, _TILE)), dtype=np.float32)
        sums = np.empty(_TILE, dtype=np.float32)
        for first in range(0, some, _TILE // LANES):
            group = runs[first : min(first + _TILE // LANES, some)]
            for k in range(group.size):
                for row in range(x.shape[0]):
                    for r in range(LANES):
                        tile[row, k * LANES + r] = x[row, group[k] + r]
                for r in range(LANES):
                    sums[k * LANES + r] = scores[group[k] + r]
            _add_trees(
                starts, features, thresholds, kept, leaves, EARLY_TREES, num_trees, tile, 0, reachable, slots,
                sums, group.size * LANES,
            )  # fmt: skip
            for k in range(group.size):
                for r in range(LANES):
                    scores[group[k] + r] = sums[k * LANES + r]
        for r in range(num):
            if early[r] <= _HOPELESS:
                scores[r] = 2 * early[r]
    scores = scores[:num]
    if num > 0:
        _smooth(scores)
    for r in range(num):
        scores[r] = 1.0 / (1.0 + np.exp(-scores[r]))
    return scores
