"""Evaluate gradient-boosted trees kept as flat arrays: no branches on the data, eight blocks at once.

A node is a threshold and one integer, its left child and the feature it asks for; the right child follows the left one. A leaf is
its own
left child under an infinite threshold, so that every block takes the same number of steps through a tree.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def,assignment"
import numpy as np
from numba import njit

from gristmill.pipeline.extract.blocks.compiled import njit_borrowing

FEATURE_BITS = 8
_FEATURE_BITS, _FEATURE_MASK = np.uint64(FEATURE_BITS), np.uint64((1 << FEATURE_BITS) - 1)
EARLY_TREES = 45  # after so many trees a hopeless block is not followed further
_HOPELESS = -2.5  # log-odds at that tree; of such blocks, half of all, one in 2,000 would end above .2
MAX_STEPS = 1_500_000  # blocks times trees: beyond 8,000 blocks a page gets fewer trees, so that its time stays bounded
_TILE = 64  # blocks whose features stay in cache while all trees go over them
_NEIGHBOUR = np.float32(0.1)  # of four weights tried in cross-validation the best, by .002 of F1 over none


@njit_borrowing
def _step(node, row, x, nodes, thresholds):
    """Go from a node to the child a block belongs to; `row` is where the block's features begin.

    Unsigned indices spare the check for negative ones.
    """
    packed = np.uint64(nodes[node])
    return (packed >> _FEATURE_BITS) + np.uint64(x[row + (packed & _FEATURE_MASK)] > thresholds[node])


@njit_borrowing
def _add_tree(root, depth, nodes, thresholds, leaves, x, width, rows, scores):
    """Add one tree's leaf values to the scores of some rows, eight at once: a step waits for memory, not for arithmetic."""
    num = rows.size
    whole = num - num % 8
    for k in range(0, whole, 8):
        r0, r1, r2, r3 = rows[k] * width, rows[k + 1] * width, rows[k + 2] * width, rows[k + 3] * width
        r4, r5, r6, r7 = rows[k + 4] * width, rows[k + 5] * width, rows[k + 6] * width, rows[k + 7] * width
        a = b = c = d = e = f = g = h = np.uint64(root)
        for _ in range(depth):
            a = _step(a, r0, x, nodes, thresholds)
            b = _step(b, r1, x, nodes, thresholds)
            c = _step(c, r2, x, nodes, thresholds)
            d = _step(d, r3, x, nodes, thresholds)
            e = _step(e, r4, x, nodes, thresholds)
            f = _step(f, r5, x, nodes, thresholds)
            g = _step(g, r6, x, nodes, thresholds)
            h = _step(h, r7, x, nodes, thresholds)
        for row, leaf in ((k, a), (k + 1, b), (k + 2, c), (k + 3, d), (k + 4, e), (k + 5, f), (k + 6, g), (k + 7, h)):
            scores[rows[row]] += leaves[leaf]
    for k in range(whole, num):
        a = np.uint64(root)
        for _ in range(depth):
            a = _step(a, rows[k] * width, x, nodes, thresholds)
        scores[rows[k]] += leaves[a]


@njit_borrowing
def _add_trees(num_trees, roots, depths, nodes, thresholds, leaves, x, width, rows, scores):
    """Add the trees; after the first `EARLY_TREES` only the rows that are not hopeless."""
    for t in range(num_trees):
        if t == EARLY_TREES:
            num = 0
            for r in range(rows.size):
                if scores[rows[r]] > _HOPELESS:
                    rows[num] = rows[r]
                    num += 1
                else:
                    scores[rows[r]] *= 2  # about where the other trees would have taken it
            rows = rows[:num]
        _add_tree(roots[t], depths[t], nodes, thresholds, leaves, x, width, rows, scores)


@njit_borrowing
def _smooth(scores):
    """Lean each block's log-odds a little towards its neighbours', in place; main text comes in runs."""
    before = scores[0]
    for r in range(scores.size):
        own, after = scores[r], scores[min(r + 1, scores.size - 1)]
        scores[r] = (own + _NEIGHBOUR * (before + after)) / (1 + 2 * _NEIGHBOUR)
        before = own


@njit(cache=True, nogil=True)
def probabilities(x, roots, depths, nodes, thresholds, leaves):
    """Return the probability of each block of a page, in order, to be main text, float32; the sum of leaf values is its
    log-odds."""
    scores = np.zeros(x.shape[0], dtype=np.float32)
    num_trees = min(roots.size, max(EARLY_TREES, MAX_STEPS // max(scores.size, 1)))
    width, flat = np.uint64(x.shape[1]), x.reshape(x.size)
    rows = np.empty(_TILE, dtype=np.uint64)
    for start in range(0, scores.size, _TILE):
        tile = scores[start : start + _TILE]
        for r in range(tile.size):
            rows[r] = r
        features = flat[start * x.shape[1] :]
        _add_trees(num_trees, roots, depths, nodes, thresholds, leaves, features, width, rows[: tile.size], tile)
    if scores.size > 0:
        _smooth(scores)
    for r in range(scores.size):
        scores[r] = 1.0 / (1.0 + np.exp(-scores[r]))
    return scores
