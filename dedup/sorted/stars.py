"""Connected components in bounded memory, by rounds of map and reduce over sorted edges.

Edges are (row, root), root smaller. A round has two halves (Kiveris et al. 2014, "Connected components in
MapReduce and beyond"), each cut into ranges of rows that are worked on apart:

- small star: the edges of a range of rows, by row, become a spanning forest, so that a row's several roots
  are joined with the smallest;
- large star: the edges of a range of roots, by root, move to the smallest root of their root, which halves
  every chain.

Edges never grow in number, and components never change. When no root has a root and no row has two, every
edge leads to the smallest row of its component: that is the same for any partition. One more small star then
leaves each row's edge in its range, once. A half holds one number
for each row of its range and a slice of edges, whatever the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types

from gristmill.dedup.near.cluster import group_starts_of, sizes_of_groups, spanning_forest
from gristmill.dedup.sorted.radix import U64, Numbers, sort_pairs
from gristmill.dedup.sorted.runs import SortedRun, read_range, write_run

EDGE_BYTES = 200  # of memory for each edge of a slice while a forest is made of it
_BY_ROW = 64  # bytes of memory for each row of a range
_SLICE = 1 << 20  # edges read at a time where none are sorted


def num_ranges(num_rows: int, num_edges: int, memory_bytes: int) -> int:
    """Return into how many ranges of rows a round is cut: a function of the data and the setting."""
    by_rows = -(-num_rows * _BY_ROW // memory_bytes)
    return max(1, by_rows, -(-num_edges * EDGE_BYTES // (8 * memory_bytes)))


def row_range(part: int, parts: int, num_rows: int) -> tuple[int, int]:
    return part * num_rows // parts, (part + 1) * num_rows // parts


def _slices(runs: Sequence[SortedRun], low: int, high: int, most: int) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield the records of a range of keys as (key, other), at most `most` at a time, run after run."""
    for run in runs:
        span = run.span(low, high)
        other = "root" if next(iter(run.columns)) == "row" else "row"
        for start in range(span.start, span.stop, most):
            piece = slice(start, min(start + most, span.stop))
            yield run.read_key(piece), run.read(other, piece)
        run.release()


def small_star(paths: Sequence[Path], low: int, high: int, memory_bytes: int, out: Path) -> dict[str, int]:
    """Write forests of the edges of rows in [low, high), each by row and by root, as `out`.0.row and so on;
    return how many files, and edges read and written."""
    runs = [SortedRun(path) for path in paths]
    total = sum((span := run.span(low, high)).stop - span.start for run in runs)
    most = max(1, memory_bytes // EDGE_BYTES // 2)
    pieces = max(1, -(-total // most))
    number, edges = 0, 0
    for piece in range(pieces):
        start, stop = (low + bound * (high - low) // pieces for bound in (piece, piece + 1))
        columns = read_range(runs, start, stop, ("row", "root"))
        row, root = spanning_forest(columns["row"], columns["root"])
        if len(row):
            write_run(out.with_suffix(f".{number}.row"), {"row": row, "root": root})
            by_root, child = sort_pairs(root, row)
            write_run(out.with_suffix(f".{number}.root"), {"root": by_root, "row": child})
            number, edges = number + 1, edges + len(row)
    return {"files": number, "read": total, "edges": edges}


_MAPPED = types.Array(types.uint64, 1, "C", readonly=True)


@njit([types.int64(_MAPPED, _MAPPED, types.uint64, U64)], cache=True, nogil=True)
def _smallest_roots(rows, roots, low, smallest):  # type: ignore[no-untyped-def]
    """Note the smallest root of each row; count the times that a row came with another one."""
    conflicts = 0
    for i in range(len(rows)):
        place = rows[i] - low
        if smallest[place] != rows[i] and smallest[place] != roots[i]:
            conflicts += 1
        smallest[place] = min(smallest[place], roots[i])
    return conflicts


def large_star(
    by_row: Sequence[Path], by_root: Sequence[Path], low: int, high: int, memory_bytes: int, out: Path
) -> dict[str, int]:
    """Move the edges of roots in [low, high) to their roots' smallest roots; write them by row as `out`.0.row
    and so on.

    `changed` counts edges moved, and `conflicts` rows of the range that have several roots: none of either in
    all ranges, and the edges are the components.
    """
    smallest = np.arange(low, high, dtype=np.uint64)
    most = max(1, memory_bytes // EDGE_BYTES // 2)
    conflicts = 0
    for rows, roots in _slices([SortedRun(path) for path in by_row], low, high, most):
        conflicts += _smallest_roots(
            np.ascontiguousarray(rows), np.ascontiguousarray(roots), np.uint64(low), smallest
        )
    number, edges, changed = 0, 0, 0
    for roots, rows in _slices([SortedRun(path) for path in by_root], low, high, most):
        moved = smallest[(roots - np.uint64(low)).astype(np.int64)]
        changed += int((moved != roots).sum())
        row, root = sort_pairs(rows, moved)
        write_run(out.with_suffix(f".{number}.row"), {"row": row, "root": root})
        number, edges = number + 1, edges + len(row)
    return {"files": number, "edges": edges, "changed": changed, "conflicts": conflicts}


def write_stars(
    by_row: Sequence[Path], by_root: Sequence[Path], low: int, high: int, group_documents: int, out: Path
) -> dict[str, Any]:
    """Write the components of the rows and of the roots in [low, high), as `write_components` does of all.

    The run holds every row of the range that lies in a component, with its root; `bounds` are where groups of
    whole components with their root in the range begin, and the range's end.
    """
    root_of = np.arange(low, high, dtype=np.uint64)
    inside = np.zeros(high - low, bool)
    for rows, roots in _slices([SortedRun(path) for path in by_row], low, high, _SLICE):
        place = (rows - np.uint64(low)).astype(np.int64)
        root_of[place], inside[place] = roots, True
    size = np.zeros(high - low, np.int64)
    for roots, _rows in _slices([SortedRun(path) for path in by_root], low, high, _SLICE):
        place = (roots - np.uint64(low)).astype(np.int64)
        np.add.at(size, place, 1)
    heads = np.flatnonzero(size)
    inside[heads] = True
    member = np.flatnonzero(inside)
    first = group_starts_of(size[heads] + 1, group_documents)
    bounds = np.append(heads[first] + low, high).astype(np.uint64)
    write_run(
        out, {"row": member.astype(np.uint64) + np.uint64(low), "root": root_of[member], "bounds": bounds}
    )
    return {
        "documents": len(member),
        "components": len(heads),
        "groups": len(first),
        "largest": int(size.max(initial=0)) + 1 if len(heads) else 0,
        "group_sizes": sizes_of_groups(size[heads] + 1, first),
    }
