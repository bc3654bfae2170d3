"""Cut repeated lines, paragraphs or spans of sentences out of documents of all sources together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gristmill.dedup import pieces
from gristmill.dedup.cuts import CUTS
from gristmill.dedup.runs import key_range, num_parts
from gristmill.dedup.settings import PieceSettings
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


def pieces_stage(job: Job) -> Stage:
    settings: PieceSettings = job.settings.pieces
    shards = shards_of(job)
    keys = yield over_shards("keys", write_keys, shards, settings=settings)
    parts = num_parts(sum(record.counts["pieces"] for record in keys), pieces.PART_RECORDS)
    decided = yield over_parts("decide", decide_part, parts, keys=files(job, keys, "keys"), settings=settings)
    common = {
        "cuts": files(job, decided, "cuts"),
        "seed": job.seed,
        "keep_removed": job.settings.keep_removed,
    }
    yield over_shards("apply", apply_shard, shards, settings=settings, **common)
    cut = sum(record.counts["cut"] for record in decided)
    return {"cut": cut, **passed_on(job, keys, decided)}


def write_keys(task: Attempt, shard: Shard, settings: PieceSettings) -> None:
    out = task.scratch / "keys.run"
    task.record.counts = pieces.map_pieces(settings, Path(shard.path), shard.first_row, out)
    task.publish(out, "keys", task.record.counts["pieces"])


def decide_part(task: Attempt, part: int, parts: int, keys: list[str], settings: PieceSettings) -> None:
    out = task.scratch / "cuts.run"
    task.record.counts = pieces.reduce_pieces(
        settings, [Path(path) for path in keys], *key_range(part, parts), out
    )
    task.publish(out, "cuts", task.record.counts["cut"])


def apply_shard(
    task: Attempt, shard: Shard, settings: PieceSettings, cuts: list[str], seed: int, keep_removed: Any
) -> None:
    batches = pieces.apply_pieces(settings, Path(shard.path), shard.first_row, [Path(path) for path in cuts])
    write_applied(task, shard, batches, CUTS, seed, keep_removed)
