"""Evaluate gradient-boosted trees by bit masks (QuickScorer, Lucchese et al. 2015), 64 blocks at a time.

A tree of at most 32 leaves is a list of nodes in any order. Where a block is above a node's threshold, the
leaves to the node's left are out of its reach; what is left of 32 bits after all nodes has the block's leaf
as its lowest bit. There is no branch on the data and no chain of loads: a node is one comparison of vectors.
"""

from __future__ import annotations

# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from gristmill.pipeline.extract.blocks.compiled import njit_borrowing

MAX_LEAVES = 32
EARLY_TREES = 45  # after so many trees a hopeless block is not followed further
_HOPELESS = -2.5  # log-odds at that tree; of such blocks, half of all, one in 2,000 would end above .2
# blocks times trees: beyond 8,000 blocks a page gets fewer trees, so that its time stays bounded
MAX_STEPS = 1_500_000
_TILE = 256  # blocks whose features stay in cache while all trees go over them
LANES = 64  # blocks that go through a tree at once; those of a page are filled up to a multiple of these
RUN = 16  # blocks in a row that are followed further if one of them has hope
_NEIGHBOUR = np.float32(0.1)  # of four weights tried in cross-validation the best, by .002 of F1 over none
_ALL = np.uint32(0xFFFFFFFF)
_DE_BRUIJN, _DE_BRUIJN_SHIFT = (
    np.uint32(0x077CB531),
    np.uint32(27),
)  # a single bit times this has its own number on top


def leaf_slot(leaf: int) -> int:
    """Return where the value of a tree's leaf, counted from the left, lies among its 32."""
    return ((1 << leaf) * int(_DE_BRUIJN) & int(_ALL)) >> int(_DE_BRUIJN_SHIFT)


@intrinsic
def _strike(typing, thresholds, kept, features, first, after, x, at, reachable):
    """Store the bits of the leaves that `LANES` blocks, from column `at` of `x` on, can reach in the tree of
    the nodes from `first` up to `after`, into `reachable`.

    The bits stay in registers over all nodes of a tree; what a compiler makes of a loop over blocks loads and
    stores them at each node, and begins anew at each: most of the time of a page of a hundred blocks.
    """

    def generate(context, builder, signature, arguments):
        thresholds, kept, features, x, reachable = (
            context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 1, 2, 5, 7)
        )
        row_bytes = cgutils.unpack_tuple(builder, x.strides)[0]
        byte, floats = ir.IntType(8), ir.VectorType(ir.FloatType(), LANES)
        bits = ir.VectorType(ir.IntType(32), LANES)

        def spread(value, vector):
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            return builder.shuffle_vector(one, one, ir.Constant(bits, [0] * LANES))

        columns = builder.bitcast(builder.gep(x.data, [arguments[6]]), byte.as_pointer())
        left = cgutils.alloca_once_value(builder, ir.Constant(bits, [0xFFFFFFFF] * LANES))
        with cgutils.for_range(builder, arguments[4], start=arguments[3]) as loop:
            threshold, stays, feature = (
                builder.load(builder.gep(array.data, [loop.index])) for array in (thresholds, kept, features)
            )
            row = builder.gep(columns, [builder.mul(builder.zext(feature, row_bytes.type), row_bytes)])
            column = builder.load(builder.bitcast(row, floats.as_pointer()), align=4)
            above = builder.fcmp_ordered(">", column, spread(threshold, floats))
            before = builder.load(left)
            builder.store(builder.select(above, builder.and_(before, spread(stays, bits)), before), left)
        builder.store(builder.load(left), builder.bitcast(reachable.data, bits.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(
        thresholds, kept, features, types.int64, types.int64, x, types.int64, reachable
    ), generate


@njit_borrowing
def _add_trees(starts, features, thresholds, kept, leaves, first, end, x, at, reachable, sums, width):
    """Add some trees to the sums of the blocks that stand side by side in `x` from `at` on, `LANES` of them
    after the others: their features stay in the fastest cache, and the trees are read from front to back."""
    for group in range(0, width, LANES):
        for t in range(first, end):
            _strike(thresholds, kept, features, starts[t], starts[t + 1], x, at + group, reachable)
            for r in range(LANES):
                lowest = np.uint32(reachable[r] & (~reachable[r] + np.uint32(1)))
                reachable[r] = np.uint32(lowest * _DE_BRUIJN) >> _DE_BRUIJN_SHIFT
            for r in range(LANES):
                sums[group + r] += leaves[t, np.int64(reachable[r])]


@njit_borrowing
def _hopeful(scores, num, runs):
    """List the runs of `RUN` blocks some of which have hope; returns how many there are."""
    some = 0
    for start in range(0, scores.size, RUN):
        hopes = False
        for r in range(start, min(start + RUN, num)):
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

    `x` is what `features.measure` returns. Runs of `RUN` blocks some of which have hope are put side by
    side for the trees after the first ones; a hopeless block's sum is about where these would have taken it.
    """
    scores = np.zeros(x.shape[1], dtype=np.float32)
    num_trees = min(starts.size - 1, max(EARLY_TREES, MAX_STEPS // max(num, 1)))
    reachable = np.empty(LANES, dtype=np.uint32)
    for at in range(0, scores.size, _TILE):
        _add_trees(
            starts, features, thresholds, kept, leaves, 0, min(EARLY_TREES, num_trees), x, at, reachable,
            scores[at:], min(scores.size - at, _TILE),
        )  # fmt: skip
    if num_trees > EARLY_TREES:
        early, runs = scores.copy(), np.empty(scores.size // RUN + 1, dtype=np.int64)
        some = _hopeful(scores, num, runs)
        tile = np.empty((x.shape[0], min((some * RUN + LANES - 1) // LANES * LANES, _TILE)), dtype=np.float32)
        sums = np.empty(_TILE, dtype=np.float32)
        for first in range(0, some, _TILE // RUN):
            group = runs[first : min(first + _TILE // RUN, some)]
            for k in range(group.size):
                for row in range(x.shape[0]):
                    for r in range(RUN):
                        tile[row, k * RUN + r] = x[row, group[k] + r]
                for r in range(RUN):
                    sums[k * RUN + r] = scores[group[k] + r]
            _add_trees(
                starts, features, thresholds, kept, leaves, EARLY_TREES, num_trees, tile, 0, reachable,
                sums, group.size * RUN,
            )  # fmt: skip
            for k in range(group.size):
                for r in range(RUN):
                    scores[group[k] + r] = sums[k * RUN + r]
        for r in range(num):
            if early[r] <= _HOPELESS:
                scores[r] = 2 * early[r]
    scores = scores[:num]
    if num > 0:
        _smooth(scores)
    for r in range(num):
        scores[r] = 1.0 / (1.0 + np.exp(-scores[r]))
    return scores
