"""Cut text that occurs in a document before, over groups of documents by id."""

from __future__ import annotations

from pathlib import Path

from gristmill.dedup import substring
from gristmill.dedup.cuts import CUTS
from gristmill.dedup.runs import key_range, num_parts
from gristmill.pipeline.phases.dedup import write_applied
from gristmill.pipeline.phases.shuffle import (
    Shard,
    files,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
)
from gristmill.pipeline.run.job import Attempt, Job, Stage
from gristmill.pipeline.stages.dedup import SubstringSlice


def substring_stage(job: Job[SubstringSlice]) -> Stage:
    settings = job.settings.substring
    shards = shards_of(job)
    texts = yield over_shards("texts", write_texts, shards)
    parts = num_parts(sum(record.counts["text_bytes"] for record in texts), settings.group_bytes)
    found = yield over_parts("repeats", find_part, parts, texts=files(job, texts, "texts"))
    yield over_shards("apply", apply_shard, shards, cuts=files(job, found, "cuts"))
    totals = {name: sum(record.counts[name] for record in found) for name in ("repeats", "repeated_bytes")}
    return {**totals, "groups": parts, **passed_on(job, texts, found)}


def write_texts(task: Attempt[SubstringSlice], shard: Shard) -> None:
    out = task.scratch / "texts.run"
    task.record.counts = substring.map_texts(Path(shard.path), shard.first_row, out)
    task.publish(out, "texts", task.record.counts["documents"])


def find_part(task: Attempt[SubstringSlice], part: int, parts: int, texts: list[str]) -> None:
    out = task.scratch / "cuts.run"
    task.record.counts = substring.find_repeats(
        task.settings.substring, [Path(path) for path in texts], *key_range(part, parts), out
    )
    task.publish(out, "cuts", task.record.counts["repeats"])


def apply_shard(task: Attempt[SubstringSlice], shard: Shard, cuts: list[str]) -> None:
    batches = substring.apply_substring(
        task.settings.substring, Path(shard.path), shard.first_row, [Path(path) for path in cuts]
    )
    write_applied(task, shard, batches, CUTS)
