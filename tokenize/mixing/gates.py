"""When a long document may enter a mixture: not before its source gives enough besides.

A source gives its documents in the order of a draw by hash. One long document early in that order would be
the better part of a small mixture, or would end it where only whole documents are taken. So a document much
longer than its source's mean waits until the shorter ones before it make up `1 / _SHARE` times its tokens;
one for which they never do comes last, by length. This depends on the source alone, not on a budget: a larger
budget still takes everything a smaller one took.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

DRAW_BITS = 53
# An effective draw has one bit more: those that wait to the end lie above all draws.
ORDER_BITS = DRAW_BITS + 1
_CELL_BITS = 10
_SIZE_CLASSES = 33  # by the number of bits of a document's tokens, a u32
SIZES_SHAPE = (_SIZE_CLASSES, 1 << _CELL_BITS)
_SHARE = 0.05  # of what is there when it enters
_LONG = 8  # times the mean of its source


def sizes_by_draw(draws: U64, tokens: U64) -> U64:
    """Tokens of a file's documents by size class and by cell of their draw: (33, 1024)."""
    found = np.zeros(SIZES_SHAPE, np.uint64)
    np.add.at(found, (_size_class(tokens), draws >> np.uint64(DRAW_BITS - _CELL_BITS)), tokens)
    return found


def gates_of(sizes: U64, mean_tokens: float) -> list[int]:
    """The gates of a source: from which size class on documents wait, then tokens of the others by cell."""
    first = int(_LONG * mean_tokens).bit_length() + 1
    return [first, *(int(total) for total in np.cumsum(sizes[:first].sum(axis=0)))]


def effective(draws: U64, tokens: U64, gates: Sequence[int]) -> U64:
    """Where each document stands in its source's order: its draw, or later for a long one."""
    long = np.flatnonzero(_size_class(tokens) >= gates[0])
    if not len(long):
        return draws
    before = np.array(gates[1:], np.float64)
    cells = np.searchsorted(before, tokens[long] / _SHARE) + 1
    draw = draws[long]
    waits = (cells.astype(np.uint64) << np.uint64(DRAW_BITS - _CELL_BITS)) + (draw >> np.uint64(_CELL_BITS))
    last = np.uint64(1 << DRAW_BITS) + (tokens[long] << np.uint64(20)) + (draw >> np.uint64(DRAW_BITS - 20))
    out = draws.copy()
    out[long] = np.maximum(draw, np.where(cells >= len(before), last, waits))
    return out


def _size_class(tokens: U64) -> npt.NDArray[np.int64]:
    return np.frexp(tokens.astype(np.float64))[1].astype(np.int64)
