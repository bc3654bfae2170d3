"""Which old documents a run's documents duplicate or are nearest to, told document by document."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.dedup.near import nearest
from gristmill.facts import Counts, Facts
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.dedup.index import OldShard
from gristmill.pipeline.phases.shuffle import DocumentFile, files
from gristmill.pipeline.run.job import Attempt, Job, Phase, Task
from gristmill.pipeline.stages.dedup import FuzzySlice

Phases = Generator[Phase, list[TaskRecord], tuple[list[TaskRecord], dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Named(Counts):
    named: int = 0


@dataclass(frozen=True, slots=True)
class Near(Counts):
    """A shard's documents, and those that are near an old one."""

    documents: int = 0
    near: int = 0


@dataclass(frozen=True, slots=True)
class Told(Facts):
    told: dict[str, Any]


def report_phases(
    job: Job[FuzzySlice],
    shards: Sequence[DocumentFile],
    old: Sequence[OldShard],
    verified: Sequence[TaskRecord],
    applied: Sequence[TaskRecord],
) -> Phases:
    """Name the old documents of all pairs, then tell of each shard's documents.

    Returns the records whose files are passed on, and all added up.
    """
    pairs = {"nearest": files(job, verified, "nearest-pairs")}
    known = [(number, shard) for number, shard in enumerate(old) if shard.names]
    tasks = [Task(f"{number:05d}", name_old, {"shard": shard}) for number, shard in known]
    named = yield Phase("report-names", tasks, pairs)
    tasks = []
    for number, (shard, record) in enumerate(zip(shards, applied, strict=True)):
        (decisions,) = record.named("decisions")
        paths = {"documents": shard.path, "decisions": str(job.folder / decisions.path)}
        tasks.append(Task(f"{number:05d}", tell_shard, {**paths, "first_row": shard.first_row}))
    told = yield Phase("report", tasks, {**pairs, "named": files(job, named, "old-names")})
    return list(named), nearest.add_told([record.stated(Told).told for record in told])


def name_old(task: Attempt[FuzzySlice], shard: OldShard, nearest: list[str]) -> None:
    from gristmill.dedup.near.nearest import name_old as name

    out = task.scratch / "named.parquet"
    pairs = [Path(path) for path in nearest]
    names = Path(str(shard.names))
    named = Named(**name(pairs, names, shard.first_row, shard.num_rows, shard.corpus, out))
    task.record.state(named)
    task.publish(out, "old-names", named.named)


def tell_shard(
    task: Attempt[FuzzySlice],
    documents: str,
    decisions: str,
    first_row: int,
    nearest: list[str],
    named: list[str],
) -> None:
    from gristmill.dedup.near.nearest import tell

    out = task.scratch / "nearest.parquet"
    pairs, names = (list(map(Path, paths)) for paths in (nearest, named))
    told = tell(pairs, names, Path(documents), Path(decisions), first_row, out)
    task.record.state(Told(told), Near(told["documents"], told["near"]))
    task.publish(out, "nearest", told["near"])


def said(mine: dict[str, Any]) -> list[str]:
    """What the terminal tells of it."""
    lines = [
        f"{counts.get('removed', 0):,} documents ({counts.get('removed_bytes', 0):,} bytes) are in {name};"
        f" {counts.get('near', 0):,} more are near one of it"
        for name, counts in mine["corpora"].items()
    ]
    return lines or ["no document shares a band key with an old one"]
