"""Cut repeated lines, paragraphs or spans of sentences out of documents of all sources together."""

from __future__ import annotations

from pathlib import Path

from gristmill.dedup import pieces
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
from gristmill.pipeline.stages.dedup import PiecesSlice


def pieces_stage(job: Job[PiecesSlice]) -> Stage:
    shards = shards_of(job)
    keys = yield over_shards("keys", write_keys, shards)
    parts = num_parts(sum(record.counts["pieces"] for record in keys), pieces.PART_RECORDS)
    decided = yield over_parts("decide", decide_part, parts, keys=files(job, keys, "keys"))
    yield over_shards("apply", apply_shard, shards, cuts=files(job, decided, "cuts"))
    cut = sum(record.counts["cut"] for record in decided)
    return {"cut": cut, **passed_on(job, keys, decided)}


def write_keys(task: Attempt[PiecesSlice], shard: DocumentFile) -> None:
    out = task.scratch / "keys.run"
    task.record.counts = pieces.map_pieces(task.settings.pieces, Path(shard.path), shard.first_row, out)
    task.publish(out, "keys", task.record.counts["pieces"])


def decide_part(task: Attempt[PiecesSlice], part: int, parts: int, keys: list[str]) -> None:
    out = task.scratch / "cuts.run"
    task.record.counts = pieces.reduce_pieces(
        task.settings.pieces, [Path(path) for path in keys], *key_range(part, parts), out
    )
    task.publish(out, "cuts", task.record.counts["cut"])


def apply_shard(task: Attempt[PiecesSlice], shard: DocumentFile, cuts: list[str]) -> None:
    batches = pieces.apply_pieces(
        task.settings.pieces, Path(shard.path), shard.first_row, [Path(path) for path in cuts]
    )
    write_applied(task, shard, batches, CUTS)
