"""Connected components of documents that share a band key: star edges, spanning forests, a fixed merge tree.

A reducer reads one range of band keys, joins every document of a key with the smallest row among them (so
that a key of a million documents costs a million edges, not their square), and writes only a spanning forest
of its edges. Forests merge sixteen at a time. Roots are smallest rows, so that the order of edges cannot
matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, types

from gristmill.dedup.near.old import BANDS, check_keys, check_rows, open_old
from gristmill.dedup.sorted.radix import U64, Numbers, sort_pairs
from gristmill.dedup.sorted.runs import SortedRun, concat, num_parts, read_range, write_run

FAN_IN = 16
_SLICE_RECORDS = 4_000_000  # band keys sorted at a time within a reduce task, where memory has room for them
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
    paths: Sequence[Path],
    low: int,
    high: int,
    out: Path,
    old: Sequence[tuple[Path, int, int]] = (),
    most: int = 1 << 40,
) -> dict[str, int]:
    """Write spanning forests of all documents that share a band key in [low, high), as `out`.0 and so on.

    There is one, or where it would exceed some `most` / 4 edges several, whose union it is. Of keys, edges
    and a forest no more are held than of `most` edges.

    Runs at `paths` hold (key, row - first_row) with their first row; the range is read, sorted and joined a
    slice at a time, a key that alone exceeds a slice as a stream. `old` are the runs of earlier indexes, with
    first rows beyond all of `paths` and numbers of documents; those that only share a key with each other
    there are left alone. Raises IntegrityError for a row of theirs that is no document.
    """
    runs = [_Bands(run, int(run.columns["first_row"][0])) for run in map(SortedRun, paths)]
    runs += [_Bands(open_old(path, BANDS), row, count) for path, row, count in old]
    old_row = min((row for _path, row, _count in old), default=_NONE_OLD)
    forests = _Forests(out, most)
    num_edges = 0
    for start, stop in _slices(runs, low, high, forests.piece):
        single = stop - start == 1
        for child, parent in (_single_key if single else _slice_edges)(runs, start, stop, old_row):
            num_edges += len(child)
            forests.add(child, parent)
    forests.flush()
    num_keys = _num_keys(runs, low, high)
    return {"band_keys": num_keys, "edges": num_edges, "joined": forests.joined, "files": forests.files}


class _Bands(NamedTuple):
    """A run of (key, place of the document), the number of its first one, and how many an index has."""

    run: SortedRun
    first: int
    documents: int | None = None

    def keys(self, span: slice, low: int, high: int) -> Numbers:
        found = self.run.read_key(span)
        if self.documents is not None:
            check_keys(self.run.path, found, low, high)
        return found

    def rows(self, span: slice) -> Numbers:
        found = self.run.read("row", span)
        if self.documents is not None:
            check_rows(self.run.path, found, self.documents)
        return found + np.uint64(self.first)


def _num_keys(runs: Sequence[_Bands], low: int, high: int) -> int:
    return sum((span := each.run.span(low, high)).stop - span.start for each in runs)


class _Forests:
    """Edges on their way to disk, as spanning forests that memory has room for."""

    def __init__(self, out: Path, most: int) -> None:
        self.out, self.most = out, most
        self.piece = max(1, min(_SLICE_RECORDS, most // 4))  # of keys or edges, at a time
        self.waiting: list[tuple[Numbers, Numbers]] = []
        self.edges = self.joined = self.files = self.kept = 0

    def add(self, child: Numbers, parent: Numbers) -> None:
        self.waiting.append((child, parent))
        self.edges += len(child)
        if self.edges > max(2 * self.kept, self.piece):  # so that folding stays linear in what comes
            self._fold()
            if self.kept > self.most // 4:
                self._write()

    def flush(self) -> None:
        self._fold()
        if self.kept or not self.files:
            self._write()

    def _fold(self) -> None:
        forest = spanning_forest(*(concat([pair[side] for pair in self.waiting]) for side in (0, 1)))
        self.waiting, self.edges, self.kept = [forest], len(forest[0]), len(forest[0])

    def _write(self) -> None:
        ((row, root),) = self.waiting
        write_run(self.out.with_suffix(f".{self.files}"), {"row": row, "root": root})
        self.waiting, self.edges, self.kept = [], 0, 0
        self.joined, self.files = self.joined + len(row), self.files + 1


def _slices(runs: Sequence[_Bands], low: int, high: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut a range of keys so that no piece of more than one key holds more than some `most` records."""
    waiting = [(low, high)]
    while waiting:
        start, stop = waiting.pop()
        total = _num_keys(runs, start, stop)
        if total <= most or stop - start == 1:
            if total:
                yield start, stop
            continue
        pieces = min(num_parts(total, most), stop - start)
        bounds = [start + bound * (stop - start) // pieces for bound in range(pieces + 1)]
        waiting += reversed(list(itertools.pairwise(bounds)))


def _slice_edges(
    runs: Sequence[_Bands], low: int, high: int, old_row: int
) -> Iterator[tuple[Numbers, Numbers]]:
    spans = [each.run.span(low, high) for each in runs]
    keys = concat([each.keys(span, low, high) for each, span in zip(runs, spans, strict=True)])
    rows = concat([each.rows(span) for each, span in zip(runs, spans, strict=True)])
    keys, rows = sort_pairs(keys, rows)
    child, parent = np.empty_like(rows), np.empty_like(rows)
    count = _star_edges(keys, rows, np.uint64(old_row), child, parent)
    yield child[:count], parent[:count]


def _single_key(
    runs: Sequence[_Bands], low: int, high: int, old_row: int
) -> Iterator[tuple[Numbers, Numbers]]:
    """Join all rows of one key to the smallest of them, as `_slice_edges` does, a part of a run at a time."""
    spans = [(each, each.run.span(low, high)) for each in runs]

    def parts() -> Iterator[Numbers]:
        for each, span in spans:
            for start in range(span.start, span.stop, _SLICE_RECORDS):
                yield each.rows(slice(start, min(start + _SLICE_RECORDS, span.stop)))

    smallest = min((int(rows.min()) for rows in parts()), default=_NONE_OLD)
    for rows in parts() if smallest < old_row else ():
        child = rows[rows != np.uint64(smallest)]
        yield child, np.full(len(child), smallest, np.uint64)


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
    waiting: list[SortedRun] = []
    for number, path in enumerate(paths, start=1):
        waiting.append(SortedRun(path))
        if number == len(paths) or sum(map(len, waiting)) >= len(row):
            edges = zip((row, root), ("row", "root"), strict=True)
            row, root = spanning_forest(
                *(np.concatenate([before, *(run.columns[name] for run in waiting)]) for before, name in edges)
            )
            waiting = []
    write_run(out, {"row": row, "root": root})
    return {"joined": len(row)}


def group_starts_of(size: npt.NDArray[np.int64], group_documents: int) -> npt.NDArray[np.int64]:
    """Return where groups of whole components begin, given their sizes; one that is larger than a group is a
    group of its own."""
    before = np.cumsum(size) - size
    large = size > group_documents
    new = (np.diff(before // group_documents, prepend=-1) > 0) | large
    new[1:] |= large[:-1]
    return np.flatnonzero(new)


def sizes_of_groups(size: npt.NDArray[np.int64], first: npt.NDArray[np.int64]) -> list[int]:
    return [int(total) for total in np.add.reduceat(size, first)] if len(first) else []


def write_components(forest: Path, out: Path, group_documents: int) -> dict[str, Any]:
    """Complete the last forest with its roots and cut it into groups of whole components for verification.

    `bounds` holds the roots at which groups begin: group g is the components with bounds[g] <= root <
    bounds[g + 1].
    """
    run = SortedRun(forest)
    roots, size = np.unique(run.columns["root"], return_counts=True)
    row, root = sort_pairs(np.concatenate([run.key, roots]), np.concatenate([run.columns["root"], roots]))
    first = group_starts_of(size + 1, group_documents)
    bounds = np.concatenate([roots[first], np.array([np.iinfo(np.uint64).max], np.uint64)])
    write_run(out, {"row": row, "root": root, "bounds": bounds})
    return {
        "documents": len(row),
        "components": len(roots),
        "groups": len(first),
        "largest": int(size.max() + 1) if len(size) else 0,
        "group_sizes": sizes_of_groups(size + 1, first),
    }


def group_range(components: Path, group: int) -> tuple[int, int]:
    """Return the range of roots [low, high) of a verification group."""
    bounds = SortedRun(components).columns["bounds"]
    return int(bounds[group]), int(bounds[group + 1])


def component_of(
    components: Sequence[Path], first_row: int, num_rows: int
) -> tuple[npt.NDArray[np.int64], Numbers]:
    """Return which of a shard's documents lie in a component (by place in the shard) and each one's root;
    `components` are files of rising ranges of rows."""
    columns = read_range(list(map(SortedRun, components)), first_row, first_row + num_rows, ("row", "root"))
    return (columns["row"] - np.uint64(first_row)).astype(np.int64), columns["root"]
