"""Cut repeated lines, paragraphs or spans of sentences out of documents of all sources together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gristmill.dedup import pieces
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
from gristmill.pipeline.stages.dedup import PiecesFacts, PiecesSlice


@dataclass(frozen=True, slots=True)
class Split(Counts):
    """A shard's documents and the pieces they were split into."""

    documents: int = 0
    pieces: int = 0


@dataclass(frozen=True, slots=True)
class CutPieces(Counts):
    cut: int = 0


def pieces_stage(job: Job[PiecesSlice]) -> Stage:
    shards = shards_of(job)
    keys = yield over_shards("keys", write_keys, shards)
    parts = num_parts(Split.total(keys).pieces, pieces.PART_RECORDS)
    decided = yield over_parts("decide", decide_part, parts, keys=files(job, keys, "keys"))
    yield over_shards("apply", apply_shard, shards, cuts=files(job, decided, "cuts"))
    return PiecesFacts(CutPieces.total(decided).cut, replaced_files=passed_on(job, keys, decided))


def write_keys(task: Attempt[PiecesSlice], shard: DocumentFile) -> None:
    out = task.scratch / "keys.run"
    split = Split(**pieces.map_pieces(task.settings.pieces, Path(shard.path), shard.first_row, out))
    task.record.state(split)
    task.publish(out, "keys", split.pieces)


def decide_part(task: Attempt[PiecesSlice], part: int, parts: int, keys: list[str]) -> None:
    out = task.scratch / "cuts.run"
    runs = [Path(path) for path in keys]
    cut = CutPieces(**pieces.reduce_pieces(task.settings.pieces, runs, *key_range(part, parts), out))
    task.record.state(cut)
    task.publish(out, "cuts", cut.cut)


def apply_shard(task: Attempt[PiecesSlice], shard: DocumentFile, cuts: list[str]) -> None:
    batches = pieces.apply_pieces(
        task.settings.pieces, Path(shard.path), shard.first_row, [Path(path) for path in cuts]
    )
    write_applied(task, shard, batches, CUTS)
