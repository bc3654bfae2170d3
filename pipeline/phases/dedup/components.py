"""Connected components as phases: a tree of merged forests where it fits one task, rounds of stars beyond."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.dedup.near import cluster
from gristmill.dedup.sorted import stars
from gristmill.errors import GristmillError
from gristmill.facts import Counts, Facts
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.shuffle import files
from gristmill.pipeline.run.job import Attempt, Job, Phase, Task
from gristmill.pipeline.stages.dedup import FuzzySlice

_MOST_ROUNDS = 100  # a chain of 2^64 needs fewer


@dataclass(frozen=True, slots=True)
class JoinedRows(Counts):
    """Documents that a forest joins."""

    joined: int = 0


@dataclass(frozen=True, slots=True)
class Moved(Counts):
    """A round over one range: files of edges written, edges moved, and rows that still have several roots."""

    files: int = 0
    read: int = 0
    edges: int = 0
    changed: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Found(Counts):
    """Components written by one task: documents in them, and groups they were cut into."""

    documents: int = 0
    components: int = 0
    groups: int = 0
    largest: int = 0


@dataclass(frozen=True, slots=True)
class GroupSizes(Facts):
    group_sizes: list[int]


@dataclass(frozen=True, slots=True)
class Components:
    """The files that say which rows lie in which component, by rising rows; the groups of each, by size."""

    paths: list[str]
    groups: list[tuple[int, int, int]]  # number of the file, number within it, documents
    records: list[TaskRecord]
    num_rows: int
    count: int
    rounds: int

    def tasks(self, function: Any, most: int) -> list[Task]:
        """A task for each group of at most so many documents."""
        chosen = [(file, group) for file, group, size in self.groups if size <= most]
        return [
            Task(f"{number:05d}", function, {"components": self.paths[file], "group": group})
            for number, (file, group) in enumerate(chosen)
        ]


Phases = Generator[Phase, list[TaskRecord], Components]


def find_components(job: Job[FuzzySlice], clustered: list[TaskRecord], num_rows: int) -> Phases:
    """Join the forests of all key ranges to components."""
    joined = JoinedRows.total(clustered).joined
    if min(joined, num_rows) * stars.EDGE_BYTES <= job.settings.fuzzy.memory_bytes:
        return (yield from _merged(job, clustered, num_rows))
    return (yield from _rounds(job, clustered, num_rows, joined))


def _components(
    job: Job[FuzzySlice], written: list[TaskRecord], records: list[TaskRecord], num_rows: int, rounds: int
) -> Components:
    groups = [
        (file, number, size)
        for file, record in enumerate(written)
        for number, size in enumerate(record.stated(GroupSizes).group_sizes)
    ]
    count = Found.total(written).components
    return Components(files(job, written, "components"), groups, records, num_rows, count, rounds)


def _merged(job: Job[FuzzySlice], records: list[TaskRecord], num_rows: int) -> Phases:
    """Merge forests level by level, the last ones to components."""
    done: list[TaskRecord] = []
    forests = files(job, records, "forest")
    for level, groups in enumerate(cluster.merge_tree(len(forests)), start=1):
        common = {"last": len(groups) == 1}
        arguments = [{"forests": [forests[leaf] for leaf in group], **common} for group in groups]
        tasks = [Task(f"{number:05d}", merge_group, each) for number, each in enumerate(arguments)]
        records = yield Phase(f"merge-{level}", tasks)
        done += records
        forests = files(job, records, "forest")
    return _components(job, records, done, num_rows, 0)


def merge_group(task: Attempt[FuzzySlice], forests: list[str], last: bool) -> None:
    """Merge forests; the last merge is completed to components, cut into groups."""
    out = task.scratch / "forest.run"
    joined = JoinedRows(**cluster.merge_forests([Path(path) for path in forests], out))
    if last:
        components = task.scratch / "components.run"
        counts = cluster.write_components(out, components, task.settings.fuzzy.group_documents)
        _publish_components(task, components, counts)
    else:
        task.record.state(joined)
        task.publish(out, "forest", joined.joined)


def _publish_components(task: Attempt[FuzzySlice], path: Path, counts: dict[str, Any]) -> None:
    sizes, found = GroupSizes(counts.pop("group_sizes")), Found(**counts)
    task.record.state(sizes, found)
    task.publish(path, "components", found.documents)


def _rounds(job: Job[FuzzySlice], clustered: list[TaskRecord], num_rows: int, joined: int) -> Phases:
    """Halve all chains round by round until every edge leads to the smallest row of its component."""
    done: list[TaskRecord] = []
    by_row = files(job, clustered, "forest")
    parts = stars.num_ranges(num_rows, joined, job.settings.fuzzy.memory_bytes)
    common = {"parts": parts, "num_rows": num_rows}
    for number in range(_MOST_ROUNDS):
        small = yield _over(f"small-star-{number:02d}", small_star, by_row=by_row, **common)
        done += small
        edges = {"by_row": files(job, small, "edges"), "by_root": files(job, small, "edges-by-root")}
        large = yield _over(f"large-star-{number:02d}", large_star, **edges, **common)
        done += large
        by_row = files(job, large, "edges")
        moved = Moved.total(large)
        if not moved.changed + moved.conflicts:
            break
    else:
        raise GristmillError(
            f"components were not found in {_MOST_ROUNDS} rounds", hint="this is a defect: report it"
        )
    small = yield _over("small-star-last", small_star, by_row=by_row, **common)
    edges = {"by_row": files(job, small, "edges"), "by_root": files(job, small, "edges-by-root")}
    written = yield _over("components", write_stars, **edges, **common)
    return _components(job, written, [*done, *small, *written], num_rows, number + 1)


def _over(name: str, function: Any, **common: Any) -> Phase:
    tasks = [Task(f"{part:05d}", function, {"part": part}) for part in range(common["parts"])]
    return Phase(name, tasks, common)


def _publish_all(task: Attempt[FuzzySlice], out: Path, suffix: str, kind: str, number: int) -> None:
    for piece in range(number):
        path = out.with_suffix(f".{piece}.{suffix}")
        task.publish(path, kind)


def small_star(task: Attempt[FuzzySlice], part: int, parts: int, num_rows: int, by_row: list[str]) -> None:
    out = task.scratch / "edges.run"
    low, high = stars.row_range(part, parts, num_rows)
    counts = stars.small_star(
        [Path(path) for path in by_row], low, high, task.settings.fuzzy.memory_bytes, out
    )
    task.record.state(Moved(**counts))
    for suffix, kind in (("row", "edges"), ("root", "edges-by-root")):
        _publish_all(task, out, suffix, kind, counts["files"])


def large_star(
    task: Attempt[FuzzySlice],
    part: int,
    parts: int,
    num_rows: int,
    by_row: list[str],
    by_root: list[str],
) -> None:
    out = task.scratch / "edges.run"
    low, high = stars.row_range(part, parts, num_rows)
    rows, roots = ([Path(path) for path in paths] for paths in (by_row, by_root))
    counts = stars.large_star(rows, roots, low, high, task.settings.fuzzy.memory_bytes, out)
    task.record.state(Moved(**counts))
    _publish_all(task, out, "row", "edges", counts["files"])


def write_stars(
    task: Attempt[FuzzySlice],
    part: int,
    parts: int,
    num_rows: int,
    by_row: list[str],
    by_root: list[str],
) -> None:
    out = task.scratch / "components.run"
    low, high = stars.row_range(part, parts, num_rows)
    rows, roots = ([Path(path) for path in paths] for paths in (by_row, by_root))
    counts = stars.write_stars(rows, roots, low, high, task.settings.fuzzy.group_documents, out)
    _publish_components(task, out, counts)
