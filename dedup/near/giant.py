"""One giant component verified by many tasks, with the result that one task would give.

The members lie in slices. Round by round one task verifies the block of the first undecided members of all
slices in survivor order, the very block that `blocks.verify_in_blocks` takes, and then each slice compares
its later members with what the block kept. What is decided is written by keeper; statistics of clusters are
added up over all slices, and every slice completes its own decisions.

    for each slice: list_undecided(runs of members, root, undecided)
    until no slice has any left:
        verify_block(settings, runs, undecided of all slices, block, decided)
        for each slice: sweep(settings, runs, block, undecided, left, decided)
    for each range of rows: sum_clusters(decided of all, low, high, clusters)
    for each decided: complete(decided, clusters of all, decisions)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.dedup.decisions import write_decisions
from gristmill.dedup.near.blocks import MOST_MEMBERS, Places, Sets, block_length, judge, probe
from gristmill.dedup.near.fuzzy import NO_PAIRS
from gristmill.dedup.near.verify import NEW, OLD, Verified
from gristmill.dedup.order import join_ids
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import group_starts
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, read_range, sort_columns, write_run

ORDER = ("new", "rank", "id_high", "id_low", "row")  # survivor order
_CARRIED = ("source", "snapshot", "scope", "run", "stop", "num_shingles", "bounded")
_NAMES = ("source", "snapshot")
_CLUSTER = ("keeper", "id_high", "id_low", "keeper_high", "keeper_low")


def list_undecided(
    members: Sequence[Path], first: int, count: int, root: int, old_row: int | None, out: Path
) -> dict[str, int]:
    """Write a slice's members in survivor order: those of the component in `count` of the runs, from `first`
    on."""
    parts: list[Columns] = []
    for number in range(first, first + count):
        run = SortedRun(members[number])
        names = ("rank", "id_high", "id_low", "row", "source", "snapshot", "scope", "num_shingles", "end")
        part = read_range([run], root, root + 1, names)
        part["stop"] = part.pop("end")
        part["run"] = np.full(len(part["row"]), number, np.uint64)
        parts.append(part)
    columns = {name: concat([part[name] for part in parts]) for name in parts[0]}
    count_rows = len(columns["row"])
    new = columns["row"] < np.uint64(old_row) if old_row is not None else np.ones(count_rows, bool)
    columns |= {"new": new.astype(np.uint64), "bounded": np.zeros(count_rows, np.uint64)}
    order = _in_order(columns)
    write_run(out, {name: columns[name][order] for name in (*ORDER, *_CARRIED)})
    return {"left": count_rows}


def _in_order(columns: Columns) -> Places:
    return np.lexsort([columns[name] for name in reversed(ORDER)])


def _sets(members: Sequence[Path], columns: Columns) -> Sets:
    run, stop, size = (columns[name].astype(np.int64) for name in ("run", "stop", "num_shingles"))
    used = np.unique(run)
    opened = {number: SortedRun(members[number]) for number in used.tolist()}
    return Sets(list(opened.values()), np.searchsorted(used, run), stop, size)


def verify_block(
    settings: FuzzySettings, members: Sequence[Path], undecided: Sequence[Path], out: Path, decided: Path
) -> tuple[dict[str, int], Verified, Columns]:
    """Verify the first undecided members of all slices among themselves; write those kept and what was
    decided."""
    runs = [SortedRun(path) for path in undecided]
    columns: Columns = {name: np.empty(0, np.uint64) for name in (*ORDER, *_CARRIED, "slice")}
    most = block_length(settings, np.zeros(MOST_MEMBERS, np.int64)) if settings.verify != "none" else 1
    for number, run in enumerate(runs):  # a block is the first of the first of each
        head = {name: run.columns[name][:most] for name in (*ORDER, *_CARRIED)}
        head["slice"] = np.full(len(head["row"]), number, np.uint64)
        both = {name: np.concatenate([column, head[name]]) for name, column in columns.items()}
        order = _in_order(both)[:most]
        columns = {name: column[order] for name, column in both.items()}
    length = min(most, block_length(settings, columns["num_shingles"]))
    columns = {name: column[:length] for name, column in columns.items()}
    old = columns["new"] == 0
    places = np.arange(length)
    if settings.verify == "none":
        found = Verified(places, np.full(length, np.nan), np.empty((0, 4)), NO_PAIRS, np.zeros(length, bool))
    else:
        part = np.where(old, OLD, NEW).astype(np.uint8)
        found = judge(settings, _sets(members, columns), columns["scope"], places, part)
    found.bounded[:] |= columns["bounded"].astype(bool)
    found.bounded[:] &= found.keeper == places
    kept = {name: column[found.keeper == places] for name, column in columns.items()}
    taken = np.bincount(columns["slice"].astype(np.int64), minlength=len(runs)).astype(np.uint64)
    write_run(out, {**{name: kept[name] for name in (*ORDER, *_CARRIED)}, "taken": taken})
    _write_decided(decided, columns, columns, found.keeper, found.score)
    return {"block": length, "kept": len(kept["row"])}, found, columns


def sweep(
    settings: FuzzySettings,
    members: Sequence[Path],
    block: Path,
    number: int,
    undecided: Path,
    left: Path,
    decided: Path,
) -> tuple[dict[str, int], list[tuple[Verified, Columns]]]:
    """Compare a slice's members after the block with those that it kept; write those left and those
    removed."""
    kept, mine = SortedRun(block).columns, SortedRun(undecided).columns
    taken = int(kept["taken"][number])
    columns = {name: mine[name][taken:].copy() for name in (*ORDER, *_CARRIED)}
    keeper, score = np.full(len(columns["row"]), -1, np.int64), np.full(len(columns["row"]), np.nan)
    both = {name: np.concatenate([kept[name], columns[name]]) for name in (*ORDER, *_CARRIED)}
    num_kept = len(kept["row"])
    found_all: list[tuple[Verified, Columns]] = []
    if settings.verify == "none":
        keeper[:] = 0
    else:
        sets, first = _sets(members, both), np.arange(num_kept)
        rest = np.flatnonzero(columns["new"] == 1) + num_kept
        while len(rest):
            length = block_length(settings, sets.size[rest])
            chunk, rest = rest[:length], rest[length:]
            found = probe(settings, sets, both["scope"], first, chunk)
            gone = np.flatnonzero(found.keeper[num_kept:] < num_kept)
            keeper[chunk[gone] - num_kept] = found.keeper[num_kept:][gone]
            score[chunk[gone] - num_kept] = found.score[num_kept:][gone]
            columns["bounded"][chunk - num_kept] |= found.bounded[num_kept:]
            where = np.concatenate([first, chunk])
            found_all.append((found, {name: both[name][where] for name in ("id_high", "id_low", "row")}))
    stay = keeper < 0
    write_run(left, {name: column[stay] for name, column in columns.items()})
    gone_columns = {name: column[~stay] for name, column in columns.items()}
    _write_decided(decided, gone_columns, dict(kept), keeper[~stay], score[~stay])
    return {"left": int(stay.sum()), "removed": int((~stay).sum())}, found_all


def _write_decided(
    path: Path, columns: Columns, keepers: Columns, keeper: Places, score: npt.NDArray[np.float64]
) -> None:
    """Write who was decided on, by keeper."""
    rows = {
        "keeper": keepers["row"][keeper],
        "keeper_high": keepers["id_high"][keeper],
        "keeper_low": keepers["id_low"][keeper],
        **{name: columns[name] for name in ("row", "id_high", "id_low", *_NAMES)},
        "score": score,
    }
    write_run(path, sort_columns(rows))


def sum_clusters(decided: Sequence[Path], low: int, high: int, out: Path) -> dict[str, Any]:
    """Add up the clusters whose keeper's row lies in [low, high), a run of decisions at a time."""
    names: dict[str, npt.NDArray] = {name: np.empty((2, 0), np.uint64) for name in _NAMES}
    size: Columns = {name: np.empty(0, np.uint64) for name in (*_CLUSTER, "size")}
    for path in decided:
        part = read_range([SortedRun(path)], low, high, (*_CLUSTER, *_NAMES))
        each = {**{name: part[name] for name in _CLUSTER}, "size": np.ones(len(part["keeper"]), np.uint64)}
        size = _add(size, _add({name: column[:0] for name, column in each.items()}, each))
        for name in _NAMES:
            names[name] = _distinct(np.stack([part["keeper"], part[name]]), names[name])
    ends = np.append(size["keeper"], ~np.uint64(0))
    for name in _NAMES:
        size[f"num_{name}s"] = np.diff(np.searchsorted(names[name][0], ends)).astype(np.uint64)
    size = {name: column[size["size"] > 1] for name, column in size.items()}
    write_run(out, size)
    top = np.argsort(-size["size"].astype(np.int64), kind="stable")[:3]
    ids = join_ids(size["keeper_high"][top], size["keeper_low"][top]).to_pylist()
    largest = [[value.hex(), number] for value, number in zip(ids, size["size"][top].tolist(), strict=True)]
    return {"clusters": len(size["keeper"]), "largest": largest}


def _distinct(pairs: npt.NDArray, known: npt.NDArray) -> npt.NDArray:
    """Add pairs of (keeper, name) to those known, each once, sorted."""
    for more in (None, known):
        pairs = pairs if more is None else np.concatenate([more, pairs], axis=1)
        pairs = pairs[:, np.lexsort((pairs[1], pairs[0]))]
        new = np.ones(pairs.shape[1], bool)
        new[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
        pairs = pairs[:, new]
    return pairs


def _add(size: Columns, each: Columns) -> Columns:
    """Add clusters of one run to those so far; the smallest id names a cluster."""
    both = {name: np.concatenate([size[name], each[name]]) for name in each}
    order = np.lexsort((both["id_low"], both["id_high"], both["keeper"]))
    both = {name: column[order] for name, column in both.items()}
    first = group_starts(both["keeper"])[:-1]
    summed = np.add.reduceat(both["size"], first) if len(first) else both["size"]
    return {**{name: column[first] for name, column in both.items()}, "size": summed}


def complete(settings: FuzzySettings, decided: Path, clusters: Sequence[Path], out: Path) -> dict[str, int]:
    """Write the decisions on the documents of a run whose clusters have two members or more."""
    run = SortedRun(decided)
    low, high = (int(run.key[0]), int(run.key[-1]) + 1) if len(run) else (0, 0)
    names = ("keeper", "id_high", "id_low", "size", "num_sources", "num_snapshots")
    known = read_range([SortedRun(path) for path in clusters], low, high, names)
    place = np.searchsorted(known["keeper"], run.key)
    found = np.flatnonzero(np.append(known["keeper"], ~np.uint64(0))[place] == run.key)
    place = place[found]
    own = {name: column[found] for name, column in run.columns.items()}
    removed = own["row"] != own["keeper"]
    counts = ("size", "num_sources", "num_snapshots")
    size, sources, snapshots = (known[name][place].astype(np.uint32) for name in counts)
    decisions = {
        "row": own["row"],
        "cluster_high": known["id_high"][place],
        "cluster_low": known["id_low"][place],
        "survivor_high": own["keeper_high"],
        "survivor_low": own["keeper_low"],
        "cluster_size": size,
        "num_sources": sources,
        "num_snapshots": snapshots,
        "jaccard": own["score"],
        "verified": np.full(len(found), settings.verify != "none", np.uint8),
        "removed": removed.astype(np.uint8),
    }
    write_decisions(out, decisions)
    return {"members": len(found), "removed": int(removed.sum())}
