"""Cut paragraphs, and remove documents, whose n-grams earlier documents of any source hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gristmill.dedup import contained
from gristmill.dedup.cuts import CUTS
from gristmill.dedup.runs import key_range, num_parts
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.applied import write_applied
from gristmill.pipeline.phases.shuffle import (
    DocumentFile,
    files,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
)
from gristmill.pipeline.run.job import Attempt, Job, Stage
from gristmill.pipeline.stages.dedup import ContainedFacts, ContainedSlice


@dataclass(frozen=True, slots=True)
class Ngrams(Counts):
    """A shard's documents and their n-grams."""

    documents: int = 0
    ngrams: int = 0


@dataclass(frozen=True, slots=True)
class Held(Counts):
    """N-grams that an earlier place holds."""

    held: int = 0


def contained_stage(job: Job[ContainedSlice]) -> Stage:
    shards = shards_of(job)
    written = yield over_shards("ngrams", write_ngrams, shards)
    parts = num_parts(Ngrams.total(written).ngrams, contained.PART_RECORDS)
    found = yield over_parts("held", find_held, parts, ngrams=files(job, written, "ngrams"))
    yield over_shards("apply", apply_shard, shards, held=files(job, found, "held"))
    counts = Ngrams.total(written).ngrams, Held.total(found).held
    return ContainedFacts(*counts, replaced_files=passed_on(job, written, found))


def write_ngrams(task: Attempt[ContainedSlice], shard: DocumentFile) -> None:
    out = task.scratch / "ngrams.run"
    counts = contained.map_ngrams(task.settings.ngrams, Path(shard.path), shard.first_row, out)
    task.record.state(Ngrams(**counts))
    task.publish(out, "ngrams", counts["ngrams"])


def find_held(task: Attempt[ContainedSlice], part: int, parts: int, ngrams: list[str]) -> None:
    out = task.scratch / "held.run"
    counts = contained.find_held([Path(path) for path in ngrams], *key_range(part, parts), out)
    task.record.state(Held(**counts))
    task.publish(out, "held", counts["held"])


def apply_shard(task: Attempt[ContainedSlice], shard: DocumentFile, held: list[str]) -> None:
    runs = [Path(path) for path in held]
    batches = contained.apply_held(task.settings.ngrams, Path(shard.path), shard.first_row, runs)
    write_applied(task, shard, batches, CUTS)
