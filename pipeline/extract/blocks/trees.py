"""Evaluate gradient-boosted trees by bit masks (QuickScorer, Lucchese et al. 2015), 64 blocks at a time.

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
_TILE = 64  # blocks whose features stay in cache while all trees go over them
_LANES = 16  # a tile is filled up to a multiple of these
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
def _find_leaves(reachable, slots, width):
    """Find the slot of the leftmost leaf each block can reach."""
    for r in range(width):
        lowest = np.uint32(reachable[r] & (~reachable[r] + np.uint32(1)))
        slots[r] = np.uint32(lowest * _DE_BRUIJN) >> _DE_BRUIJN_SHIFT


@njit_borrowing
def _add_tree(first, end, features, thresholds, kept, leaves, tile, reachable, slots, sums, width):
    """Add one tree's leaf values to the sums of a tile."""
    for r in range(width):
        reachable[r] = _ALL
    for node in range(first, end):
        _strike(thresholds[node], kept[node], tile[features[node]], reachable, width)
    _find_leaves(reachable, slots, width)
    for r in range(width):
        sums[r] += leaves[slots[r]]


@njit_borrowing
def _add_trees(
    num_trees, starts, features, thresholds, kept, leaves, tile, reachable, slots, sums, early, num
):
    """Sum the trees for the first `num` blocks of a tile; a hopeless block's sum is about where later trees
    would have taken it."""
    width = (num + _LANES - 1) // _LANES * _LANES
    for r in range(width):
        sums[r] = 0.0
    for t in range(num_trees):
        if t == EARLY_TREES:
            some = False
            for r in range(num):
                early[r] = sums[r]
                some |= sums[r] > _HOPELESS
            if not some:
                break
        _add_tree(
            starts[t],
            starts[t + 1],
            features,
            thresholds,
            kept,
            leaves[t],
            tile,
            reachable,
            slots,
            sums,
            width,
        )
    if num_trees > EARLY_TREES:
        for r in range(num):
            if early[r] <= _HOPELESS:
                sums[r] = 2 * early[r]


@njit_borrowing
def _smooth(scores):
    """Lean each block's log-odds a little towards its neighbours', in place; main text comes in runs."""
    before = scores[0]
    for r in range(scores.size):
        own, after = scores[r], scores[min(r + 1, scores.size - 1)]
        scores[r] = (own + _NEIGHBOUR * (before + after)) / (1 + 2 * _NEIGHBOUR)
        before = own


@njit(cache=True, nogil=True)
def probabilities(x, starts, features, thresholds, kept, leaves):
    """Return the probability of each block of a page, in order, to be main text, float32; the sum of leaf
    values is its log-odds."""
    scores = np.zeros(x.shape[0], dtype=np.float32)
    num_trees = min(starts.size - 1, max(EARLY_TREES, MAX_STEPS // max(scores.size, 1)))
    tile = np.zeros((x.shape[1], _TILE), dtype=np.float32)
    reachable, slots = np.empty(_TILE, dtype=np.uint32), np.empty(_TILE, dtype=np.uint64)
    sums, early = np.empty(_TILE, dtype=np.float32), np.empty(_TILE, dtype=np.float32)
    for start in range(0, scores.size, _TILE):
        num = min(_TILE, scores.size - start)
        for r in range(num):
            for column in range(x.shape[1]):
                tile[column, r] = x[start + r, column]
        _add_trees(
            num_trees, starts, features, thresholds, kept, leaves, tile, reachable, slots, sums, early, num
        )
        for r in range(num):
            scores[start + r] = sums[r]
    if scores.size > 0:
        _smooth(scores)
    for r in range(scores.size):
        scores[r] = 1.0 / (1.0 + np.exp(-scores[r]))
    return scores
