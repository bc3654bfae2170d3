"""Cut paragraphs, and remove documents, whose n-grams earlier documents of any source hold."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.dedup import contained
from gristmill.dedup.below.cuts import CUTS
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges, OverShards
from gristmill.pipeline.run.job import Job, Stage
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


FRAME = Frame(
    f"{__name__}:FRAME",
    "ngrams",
    (
        OverShards("ngrams", contained.map_ngrams, (Ngrams,), rows="ngrams"),
        OverRanges("held", contained.find_held, (Held,), contained.PART_RECORDS, rows="held"),
    ),
    contained.apply_held,
    CUTS,
)


def contained_stage(job: Job[ContainedSlice]) -> Stage:
    done = yield from FRAME.over(job)
    written, found = done.passes
    counts = Ngrams.total(written).ngrams, Held.total(found).held
    return ContainedFacts(*counts, replaced_files=done.replaced_files)
