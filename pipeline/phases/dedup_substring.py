"""Cut text that occurs in a document before, over the whole corpus."""

from __future__ import annotations

from pathlib import Path

from gristmill.dedup import substring
from gristmill.dedup.cuts import CUTS
from gristmill.dedup.runs import key_range, num_parts
from gristmill.pipeline.phases.dedup import write_applied
from gristmill.pipeline.phases.shuffle import (
    DocumentFile,
    files,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
)
from gristmill.pipeline.run.job import Attempt, Job, Stage
from gristmill.pipeline.stages.dedup import SubstringSlice


def substring_stage(job: Job[SubstringSlice]) -> Stage:
    shards = shards_of(job)
    printed = yield over_shards("fingerprints", write_fingerprints, shards)
    parts = num_parts(sum(record.counts["fingerprints"] for record in printed), substring.PART_RECORDS)
    paths = files(job, printed, "fingerprints")
    repeated = yield over_parts("repeated", find_repeated, parts, fingerprints=paths)
    paths = files(job, repeated, "repeated")
    windows = yield over_shards("windows", write_windows, shards, repeated=paths)
    parts = num_parts(sum(record.counts["windows"] for record in windows), substring.PART_RECORDS)
    found = yield over_parts("cuts", find_cuts, parts, windows=files(job, windows, "windows"))
    yield over_shards("apply", apply_shard, shards, cuts=files(job, found, "cuts"))
    repeats = sum(record.counts["repeats"] for record in found)
    return {"repeated_windows": repeats, **passed_on(job, printed, repeated, windows, found)}


def write_fingerprints(task: Attempt[SubstringSlice], shard: DocumentFile) -> None:
    out = task.scratch / "fingerprints.run"
    task.record.counts = substring.map_fingerprints(task.settings.substring, Path(shard.path), out)
    task.publish(out, "fingerprints", task.record.counts["fingerprints"])


def find_repeated(task: Attempt[SubstringSlice], part: int, parts: int, fingerprints: list[str]) -> None:
    out = task.scratch / "repeated.run"
    paths = [Path(path) for path in fingerprints]
    task.record.counts = substring.find_repeated(paths, *key_range(part, parts), out)
    task.publish(out, "repeated", task.record.counts["repeated"])


def write_windows(task: Attempt[SubstringSlice], shard: DocumentFile, repeated: list[str]) -> None:
    out = task.scratch / "windows.run"
    paths = [Path(path) for path in repeated]
    task.record.counts = substring.map_windows(
        task.settings.substring, Path(shard.path), shard.first_row, paths, out
    )
    for number in range(task.record.counts["files"]):
        task.publish(out.with_suffix(f".{number}"), "windows")


def find_cuts(task: Attempt[SubstringSlice], part: int, parts: int, windows: list[str]) -> None:
    out = task.scratch / "cuts.run"
    paths = [Path(path) for path in windows]
    task.record.counts = substring.find_cuts(paths, *key_range(part, parts), out)
    task.publish(out, "cuts", task.record.counts["repeats"])


def apply_shard(task: Attempt[SubstringSlice], shard: DocumentFile, cuts: list[str]) -> None:
    batches = substring.apply_substring(
        task.settings.substring, Path(shard.path), shard.first_row, [Path(path) for path in cuts]
    )
    write_applied(task, shard, batches, CUTS)
