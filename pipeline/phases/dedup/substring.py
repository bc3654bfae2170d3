"""Cut text that occurs in a document before, over the whole corpus."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.dedup.below import substring
from gristmill.dedup.below.cuts import CUTS
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges, OverShards
from gristmill.pipeline.run.job import Job, Stage
from gristmill.pipeline.stages.dedup import SubstringFacts, SubstringSlice


@dataclass(frozen=True, slots=True)
class Printed(Counts):
    """A shard's distinct fingerprints, and the bytes of text they are of."""

    fingerprints: int = 0
    text_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Repeated(Counts):
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Windows(Counts):
    """A shard's windows whose fingerprint is repeated, and the files they were written to."""

    windows: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Cuts(Counts):
    repeats: int = 0


FRAME = Frame(
    f"{__name__}:FRAME",
    "substring",
    (
        OverShards("fingerprints", substring.map_fingerprints, (Printed,), rows="fingerprints"),
        OverRanges("repeated", substring.find_repeated, (Repeated,), substring.PART_RECORDS, rows="repeated"),
        OverShards("windows", substring.map_windows, (Windows,), rows="windows"),
        OverRanges("cuts", substring.find_cuts, (Cuts,), substring.PART_RECORDS, rows="repeats"),
    ),
    substring.apply_substring,
    CUTS,
)


def substring_stage(job: Job[SubstringSlice]) -> Stage:
    done = yield from FRAME.over(job)
    return SubstringFacts(Cuts.total(done.passes[-1]).repeats, replaced_files=done.replaced_files)
