"""Connected components of documents that share a band key: star edges, spanning forests, a fixed merge tree.

A reducer reads one range of band keys, joins every document of a key with the smallest row among them (so
that a key of a million documents costs a million edges, not their square), and writes only a spanning forest
of its edges. Forests merge sixteen at a time. Roots are smallest rows, so that the order of edges cannot
matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit, types

from gristmill.dedup.radix import U64, Numbers, sort_pairs
from gristmill.dedup.runs import Run, concat, num_parts, write_run

FAN_IN = 16
_SLICE_RECORDS = 4_000_000  # band keys sorted at a time within a reduce task: 32 bytes each
_DENSE = 8
_NONE_OLD = (1 << 64) - 1
I64 = types.Array(types.int64, 1, "C")


@njit([types.int64(U64, U64, types.uint64, U64, U64)], cache=True, nogil=True)
def _star_edges(keys, rows, old_row, child, parent):  # type: ignore[no-untyped-def]
    """Join every row of a run of equal keys to the smallest of them, if that is below `old_row`; return the
    number of edges."""
    count, start = 0, 0
    while start < len(keys):
        stop, smallest = start, rows[start]
        while stop < len(keys) and keys[stop] == keys[start]:
            smallest = min(smallest, rows[stop])
            stop += 1
        for i in range(start, stop if smallest < old_row else start):
            if rows[i] != smallest:
                child[count], parent[count] = rows[i], smallest
                count += 1
        start = stop
    return count


@njit([types.void(I64, I64, I64)], cache=True, nogil=True)
def _union(child, parent, root):  # type: ignore[no-untyped-def]
    """Unite the edges' ends in `root` (at first each its own), smaller over larger, then point everything at
    its root."""
    for i in range(len(child)):
        a, b = child[i], parent[i]
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        if a < b:
            root[b] = a
        else:
            root[a] = b
    for i in range(len(root)):
        root[i] = root[root[i]]  # parents are smaller: theirs are final already


def spanning_forest(child: Numbers, parent: Numbers) -> tuple[Numbers, Numbers]:
    """Reduce edges to (row, root) pairs, sorted by row: one for every row that is not itself the smallest of
    its component."""
    ends = np.concatenate([child, parent])
    if len(ends) == 0:
        return ends, ends.copy()
    first, last = int(ends.min()), int(ends.max())
    if last - first < _DENSE * len(
        ends
    ):  # number by distance: no sorting, memory still within a few words for each edge
        rows, places = None, (ends - np.uint64(first)).astype(np.int64)
        root = np.arange(last - first + 1)
    else:
        ordered, order = sort_pairs(ends, np.arange(len(ends), dtype=np.uint64))
        new = np.ones(len(ends), bool)
        new[1:] = ordered[1:] != ordered[:-1]
        rows, places = ordered[new], np.empty(len(ends), np.int64)
        places[order.astype(np.int64)] = np.cumsum(new) - 1
        root = np.arange(len(rows))
    _union(places[: len(child)], places[len(child) :], root)
    moved = np.flatnonzero(root != np.arange(len(root)))
    if rows is None:
        return moved.astype(np.uint64) + np.uint64(first), root[moved].astype(np.uint64) + np.uint64(first)
    return rows[moved], rows[root[moved]]


def cluster_bands(
    paths: Sequence[Path], low: int, high: int, out: Path, old: Sequence[tuple[Path, int]] = ()
) -> dict[str, int]:
    """Write the spanning forest of all documents that share a band key in [low, high).

    Runs at `paths` hold (key, row - first_row) with their first row; the range is read, sorted and joined a
    slice at a time. `old` are the runs of earlier indexes, with first rows beyond all of `paths`; documents
    that only share a key with each other there are left alone.
    """
    runs = [(run, int(run.columns["first_row"][0])) for run in map(Run, paths)] + [
        (Run(path), row) for path, row in old
    ]
    old_row = min((row for _path, row in old), default=_NONE_OLD)
    total = sum((span := run.span(low, high)).stop - span.start for run, _row in runs)
    slices = num_parts(total, _SLICE_RECORDS)
    forest = (np.empty(0, np.uint64), np.empty(0, np.uint64))
    num_edges = 0
    for piece in range(slices):
        start, stop = (low + bound * (high - low) // slices for bound in (piece, piece + 1))
        child, parent = _slice_edges(runs, start, stop, old_row)
        num_edges += len(child)
        forest = spanning_forest(np.concatenate([forest[0], child]), np.concatenate([forest[1], parent]))
    write_run(out, {"row": forest[0], "root": forest[1]})
    return {"band_keys": total, "edges": num_edges, "joined": len(forest[0])}


def _slice_edges(
    runs: Sequence[tuple[Run, int]], low: int, high: int, old_row: int
) -> tuple[Numbers, Numbers]:
    spans = [run.span(low, high) for run, _row in runs]
    keys = concat([run.key[span] for (run, _row), span in zip(runs, spans, strict=True)])
    rows = concat(
        [run.columns["row"][span] + np.uint64(first) for (run, first), span in zip(runs, spans, strict=True)]
    )
    keys, rows = sort_pairs(keys, rows)
    child, parent = np.empty_like(rows), np.empty_like(rows)
    count = _star_edges(keys, rows, np.uint64(old_row), child, parent)
    return child[:count], parent[:count]


def merge_tree(num_leaves: int) -> list[list[list[int]]]:
    """Plan the merging of forests: per level, groups of the previous level's outputs, by number; the last
    level has one group."""
    levels = []
    while True:
        groups = [
            list(range(start, min(start + FAN_IN, num_leaves))) for start in range(0, num_leaves, FAN_IN)
        ]
        levels.append(groups)
        num_leaves = len(groups)
        if num_leaves <= 1:
            return levels


def merge_forests(paths: Sequence[Path], out: Path) -> dict[str, int]:
    """Merge spanning forests into one, in memory for about 100 bytes for each of the rows of the two largest.

    Edges gather until they are as many as the forest so far has rows, so that merging costs what it reads and
    no more.
    """
    row, root = np.empty(0, np.uint64), np.empty(0, np.uint64)
    waiting: list[Run] = []
    for number, path in enumerate(paths, start=1):
        waiting.append(Run(path))
        if number == len(paths) or sum(map(len, waiting)) >= len(row):
            edges = zip((row, root), ("row", "root"), strict=True)
            row, root = spanning_forest(
                *(np.concatenate([before, *(run.columns[name] for run in waiting)]) for before, name in edges)
            )
            waiting = []
    write_run(out, {"row": row, "root": root})
    return {"joined": len(row)}


def write_components(forest: Path, out: Path, group_documents: int) -> dict[str, int]:
    """Complete the last forest with its roots and cut it into groups of whole components for verification.

    `bounds` holds the roots at which groups begin: group g is the components with bounds[g] <= root <
    bounds[g + 1].
    """
    run = Run(forest)
    roots, size = np.unique(run.columns["root"], return_counts=True)
    row, root = sort_pairs(np.concatenate([run.key, roots]), np.concatenate([run.columns["root"], roots]))
    before = np.cumsum(size + 1) - (size + 1)
    first = np.flatnonzero(np.diff(before // group_documents, prepend=-1) > 0)
    bounds = np.concatenate([roots[first], np.array([np.iinfo(np.uint64).max], np.uint64)])
    write_run(out, {"row": row, "root": root, "bounds": bounds})
    return {
        "documents": len(row),
        "components": len(roots),
        "groups": len(first),
        "largest": int(size.max() + 1) if len(size) else 0,
    }


def group_range(components: Path, group: int) -> tuple[int, int]:
    """Return the range of roots [low, high) of a verification group."""
    bounds = Run(components).columns["bounds"]
    return int(bounds[group]), int(bounds[group + 1])


def component_of(components: Path, first_row: int, num_rows: int) -> tuple[npt.NDArray[np.int64], Numbers]:
    """Return which of a shard's documents lie in a component (by place in the shard) and each one's root."""
    run = Run(components)
    span = run.span(first_row, first_row + num_rows)
    return (run.key[span] - np.uint64(first_row)).astype(np.int64), run.columns["root"][span].copy()
