"""Giant components verified by many tasks: rounds of a block and a sweep over slices of the members."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.dedup.near import fuzzy, giant
from gristmill.dedup.near.cluster import group_range
from gristmill.dedup.near.nearest import write_nearest
from gristmill.dedup.sorted.stars import row_range
from gristmill.facts import Counts
from gristmill.files.parquet import read_parquet
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.dedup.components import Components
from gristmill.pipeline.phases.dedup.samples import (
    Compared,
    Decided,
    Largest,
    observe_bounded,
    observe_pairs,
)
from gristmill.pipeline.phases.shuffle import files
from gristmill.pipeline.run.job import Attempt, Job, Phase, Task
from gristmill.pipeline.stages.dedup import FuzzySlice

Phases = Generator[Phase, list[TaskRecord], list[TaskRecord]]


@dataclass(frozen=True, slots=True)
class Left(Counts):
    """Members of a giant component not yet decided on, in one slice."""

    left: int = 0


@dataclass(frozen=True, slots=True)
class Verified(Counts):
    """Members verified as one block, and those of them that stay."""

    block: int = 0
    kept: int = 0


def verify_giants(job: Job[FuzzySlice], found: Components, common: dict[str, Any]) -> Phases:
    """Verify every component of more than `split_documents` in many tasks; return their records."""
    most = job.settings.fuzzy.split_documents
    done: list[TaskRecord] = []
    giants = [(file, group, size) for file, group, size in found.groups if size > most]
    for number, (file, group, size) in enumerate(giants):
        where = {"components": found.paths[file], "group": group}
        slices = min(len(common["members"]), -(-size // most))
        done += yield from _verify(job, f"giant-{number}", where, slices, found.num_rows, common)
    return done


def _verify(
    job: Job[FuzzySlice], name: str, where: dict[str, Any], slices: int, num_rows: int, common: dict[str, Any]
) -> Phases:
    bounds = [len(common["members"]) * number // slices for number in range(slices + 1)]
    tasks = [
        Task(f"{number:05d}", list_slice, {"first": low, "count": high - low})
        for number, (low, high) in enumerate(itertools.pairwise(bounds))
    ]
    listed = {name: common[name] for name in ("members", "old_row")}
    left = yield Phase(f"{name}-list", tasks, {**listed, **where})
    done, turn = list(left), 0
    shared = {name: common[name] for name in ("members", "old_row")}
    while Left.total(left).left:
        undecided = files(job, left, "undecided")
        block = yield Phase(
            f"{name}-block-{turn:04d}", [Task("all", verify_block, {"undecided": undecided})], shared
        )
        sweeps = [
            Task(f"{number:05d}", sweep_slice, {"number": number, "undecided": path})
            for number, path in enumerate(undecided)
        ]
        (kept,) = files(job, block, "block")
        left = yield Phase(f"{name}-sweep-{turn:04d}", sweeps, {**shared, "block": kept})
        done += [*block, *left]
        turn += 1
    decided = files(job, done, "decided")
    parts = [Task(f"{part:05d}", sum_clusters, {"part": part}) for part in range(slices)]
    summed = yield Phase(
        f"{name}-clusters", parts, {"decided": decided, "parts": slices, "num_rows": num_rows}
    )
    clusters = files(job, summed, "summed")
    tasks = [Task(f"{number:05d}", complete, {"decided": path}) for number, path in enumerate(decided)]
    completed = yield Phase(f"{name}-decide", tasks, {"clusters": clusters})
    return [*done, *summed, *completed]


def list_slice(
    task: Attempt[FuzzySlice],
    first: int,
    count: int,
    members: list[str],
    components: str,
    group: int,
    old_row: int | None,
) -> None:
    out = task.scratch / "undecided.run"
    root, _end = group_range(Path(components), group)
    left = Left(**giant.list_undecided(list(map(Path, members)), first, count, root, old_row, out))
    task.record.state(left)
    task.publish(out, "undecided", left.left)


def verify_block(task: Attempt[FuzzySlice], undecided: list[str], members: list[str], old_row: int) -> None:
    out, decided = task.scratch / "block.run", task.scratch / "decided.run"
    counts, found, columns = giant.verify_block(
        task.settings.fuzzy, list(map(Path, members)), list(map(Path, undecided)), out, decided
    )
    verified = Verified(**counts)
    task.record.state(verified)
    _observe(task, [(found, columns)], {0: found.bounded}, old_row)
    task.publish(out, "block", verified.kept)
    task.publish(decided, "decided", verified.block)


def sweep_slice(
    task: Attempt[FuzzySlice],
    number: int,
    undecided: str,
    block: str,
    members: list[str],
    old_row: int,
) -> None:
    left, decided = task.scratch / "left.run", task.scratch / "decided.run"
    paths = (list(map(Path, members)), Path(block), number, Path(undecided), left, decided)
    counts, found = giant.sweep(task.settings.fuzzy, *paths)
    task.record.state(Left(counts["left"]))
    _observe(task, found, {}, old_row)
    task.publish(left, "undecided", counts["left"])
    task.publish(decided, "decided", counts["removed"])


def _observe(task: Attempt[FuzzySlice], found: list[Any], bounded: dict[int, Any], old_row: int) -> None:
    pairs = task.scratch / "pairs.parquet"
    told = fuzzy.write_compared(task.settings.fuzzy, pairs, found, bounded)
    compared = Compared(told["compared"], told["listed"], len(told["bounded"]))
    task.record.state(compared)
    observe_pairs(task.record, read_parquet(pairs), told["similarity"], task.seed)
    observe_bounded(task, told["bounded"])
    task.publish(pairs, "pairs", told["listed"])
    if task.settings.fuzzy.report:
        near = task.scratch / "near.run"
        write_nearest(found, old_row, near)
        task.publish(near, "nearest-pairs")


def sum_clusters(task: Attempt[FuzzySlice], part: int, parts: int, num_rows: int, decided: list[str]) -> None:
    out = task.scratch / "summed.run"
    low, high = row_range(part, parts, num_rows)
    counts = giant.sum_clusters([Path(path) for path in decided], low, high, out)
    task.record.state(Largest(counts["largest"]), Decided(counts["clusters"]))
    task.publish(out, "summed", counts["clusters"])


def complete(task: Attempt[FuzzySlice], decided: str, clusters: list[str]) -> None:
    out = task.scratch / "clusters.run"
    counts = giant.complete(task.settings.fuzzy, Path(decided), list(map(Path, clusters)), out)
    task.record.state(Decided(removed=counts["removed"]))
    task.publish(out, "clusters", counts["members"])
