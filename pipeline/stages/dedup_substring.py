"""Cut text that occurs in a document before, over groups of documents by id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill.dedup import substring
from gristmill.dedup.cuts import CUTS
from gristmill.dedup.runs import key_range, num_parts
from gristmill.dedup.settings import SubstringSettings
from gristmill.pipeline.run.job import Attempt, Job, Stage
from gristmill.pipeline.stages.dedup import (
    Shard,
    files,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
    write_applied,
)


def substring_stage(job: Job) -> Stage:
    settings: SubstringSettings = job.settings.substring
    shards = shards_of(job)
    texts = yield over_shards("texts", write_texts, shards)
    parts = num_parts(sum(record.counts["text_bytes"] for record in texts), settings.group_bytes)
    found = yield over_parts("repeats", find_part, parts, texts=files(job, texts, "texts"), settings=settings)
    common = {"cuts": files(job, found, "cuts"), "seed": job.seed, "keep_removed": job.settings.keep_removed}
    yield over_shards("apply", apply_shard, shards, settings=settings, **common)
    totals = {name: sum(record.counts[name] for record in found) for name in ("repeats", "repeated_bytes")}
    return {**totals, "groups": parts, **passed_on(job, texts, found)}


def write_texts(task: Attempt, shard: Shard) -> None:
    out = task.scratch / "texts.run"
    task.record.counts = substring.map_texts(Path(shard.path), shard.first_row, out)
    task.publish(out, "texts", task.record.counts["documents"])


def find_part(task: Attempt, part: int, parts: int, texts: list[str], settings: SubstringSettings) -> None:
    out = task.scratch / "cuts.run"
    task.record.counts = substring.find_repeats(
        settings, [Path(path) for path in texts], *key_range(part, parts), out
    )
    task.publish(out, "cuts", task.record.counts["repeats"])


def apply_shard(
    task: Attempt, shard: Shard, settings: SubstringSettings, cuts: list[str], seed: int, keep_removed: Any
) -> None:
    batches = substring.apply_substring(
        settings, Path(shard.path), shard.first_row, [Path(path) for path in cuts]
    )
    write_applied(task, shard, batches, CUTS, seed, keep_removed)
