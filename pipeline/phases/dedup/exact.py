"""Exact duplicates of all sources together: keys of texts or URLs, who survives, what is kept."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.dedup import exact
from gristmill.dedup.decisions import DECISIONS
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.applied import check_alarm
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges, OverShards
from gristmill.pipeline.phases.dedup.samples import Decided, Largest
from gristmill.pipeline.run.job import Job, Stage
from gristmill.pipeline.stages.dedup import ExactFacts, ExactSlice


@dataclass(frozen=True, slots=True)
class Keyed(Counts):
    """A shard's documents, and those that have a key."""

    documents: int = 0
    keys: int = 0


FRAME = Frame(
    f"{__name__}:FRAME",
    "exact",
    (
        OverShards("keys", exact.map_exact, (Keyed,), rows="keys"),
        OverRanges(
            "decide",
            exact.reduce_exact,
            (Largest, Decided),
            exact.PART_RECORDS,
            rows="clusters",
            kind="clusters",
        ),
    ),
    exact.apply_exact,
    DECISIONS,
)


def exact_stage(job: Job[ExactSlice]) -> Stage:
    done = yield from FRAME.over(job)
    _keys, decided = done.passes
    check_alarm(job.settings.exact, done.shards, done.applied, decided)
    total = Decided.total(decided)
    return ExactFacts(total.clusters, total.removed, replaced_files=done.replaced_files)
