"""Exact duplicates of all sources together: keys of texts or URLs, who survives, what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gristmill.dedup import exact
from gristmill.dedup.decisions import DECISIONS
from gristmill.dedup.runs import key_range, num_parts
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.applied import check_alarm, write_applied
from gristmill.pipeline.phases.dedup.samples import (
    Decided,
    Largest,
)
from gristmill.pipeline.phases.shuffle import (
    DocumentFile,
    files,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
)
from gristmill.pipeline.run.job import Attempt, Job, Stage
from gristmill.pipeline.stages.dedup import ExactFacts, ExactSlice


@dataclass(frozen=True, slots=True)
class Keyed(Counts):
    """A shard's documents, and those that have a key."""

    documents: int = 0
    keys: int = 0


def exact_stage(job: Job[ExactSlice]) -> Stage:
    settings = job.settings.exact
    shards = shards_of(job)
    keys = yield over_shards("keys", write_keys, shards)
    parts = num_parts(Keyed.total(keys).keys, exact.PART_RECORDS)
    decided = yield over_parts("decide", decide_part, parts, keys=files(job, keys, "keys"))
    applied = yield over_shards("apply", apply_shard, shards, decisions=files(job, decided, "clusters"))
    check_alarm(settings, shards, applied, decided)
    total = Decided.total(decided)
    return ExactFacts(total.clusters, total.removed, replaced_files=passed_on(job, keys, decided))


def write_keys(task: Attempt[ExactSlice], shard: DocumentFile) -> None:
    out = task.scratch / "keys.run"
    keyed = Keyed(**exact.map_exact(task.settings.exact, Path(shard.path), shard.first_row, out))
    task.record.state(keyed)
    task.publish(out, "keys", keyed.keys)


def decide_part(task: Attempt[ExactSlice], part: int, parts: int, keys: list[str]) -> None:
    out = task.scratch / "clusters.run"
    counts = exact.reduce_exact([Path(path) for path in keys], *key_range(part, parts), out)
    largest, decided = Largest(counts.pop("largest")), Decided(**counts)
    task.record.state(largest, decided)
    task.publish(out, "clusters", decided.clusters)


def apply_shard(task: Attempt[ExactSlice], shard: DocumentFile, decisions: list[str]) -> None:
    """Write what a shard keeps and loses; every document has a row of decisions, in `mark` mode too."""
    place = (Path(shard.path), shard.first_row, [Path(run) for run in decisions])
    write_applied(task, shard, exact.apply_exact(task.settings.exact, *place), DECISIONS)
