"""Cut text that occurs in a document before, over the whole corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gristmill.dedup import substring
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


def substring_stage(job: Job[SubstringSlice]) -> Stage:
    shards = shards_of(job)
    printed = yield over_shards("fingerprints", write_fingerprints, shards)
    parts = num_parts(Printed.total(printed).fingerprints, substring.PART_RECORDS)
    paths = files(job, printed, "fingerprints")
    repeated = yield over_parts("repeated", find_repeated, parts, fingerprints=paths)
    paths = files(job, repeated, "repeated")
    windows = yield over_shards("windows", write_windows, shards, repeated=paths)
    parts = num_parts(Windows.total(windows).windows, substring.PART_RECORDS)
    found = yield over_parts("cuts", find_cuts, parts, windows=files(job, windows, "windows"))
    yield over_shards("apply", apply_shard, shards, cuts=files(job, found, "cuts"))
    passing = passed_on(job, printed, repeated, windows, found)
    return SubstringFacts(Cuts.total(found).repeats, replaced_files=passing)


def write_fingerprints(task: Attempt[SubstringSlice], shard: DocumentFile) -> None:
    out = task.scratch / "fingerprints.run"
    printed = Printed(**substring.map_fingerprints(task.settings.substring, Path(shard.path), out))
    task.record.state(printed)
    task.publish(out, "fingerprints", printed.fingerprints)


def find_repeated(task: Attempt[SubstringSlice], part: int, parts: int, fingerprints: list[str]) -> None:
    out = task.scratch / "repeated.run"
    paths = [Path(path) for path in fingerprints]
    found = Repeated(**substring.find_repeated(paths, *key_range(part, parts), out))
    task.record.state(found)
    task.publish(out, "repeated", found.repeated)


def write_windows(task: Attempt[SubstringSlice], shard: DocumentFile, repeated: list[str]) -> None:
    out = task.scratch / "windows.run"
    paths = [Path(path) for path in repeated]
    windows = Windows(
        **substring.map_windows(task.settings.substring, Path(shard.path), shard.first_row, paths, out)
    )
    task.record.state(windows)
    for number in range(windows.files):
        task.publish(out.with_suffix(f".{number}"), "windows")


def find_cuts(task: Attempt[SubstringSlice], part: int, parts: int, windows: list[str]) -> None:
    out = task.scratch / "cuts.run"
    paths = [Path(path) for path in windows]
    cuts = Cuts(**substring.find_cuts(paths, *key_range(part, parts), out))
    task.record.state(cuts)
    task.publish(out, "cuts", cuts.repeats)


def apply_shard(task: Attempt[SubstringSlice], shard: DocumentFile, cuts: list[str]) -> None:
    batches = substring.apply_substring(
        task.settings.substring, Path(shard.path), shard.first_row, [Path(path) for path in cuts]
    )
    write_applied(task, shard, batches, CUTS)
