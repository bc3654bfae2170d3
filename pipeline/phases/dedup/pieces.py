"""Cut repeated lines, paragraphs or spans of sentences out of documents of all sources together."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.dedup.below import pieces
from gristmill.dedup.below.cuts import CUTS
from gristmill.facts import Counts
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges, OverShards
from gristmill.pipeline.run.job import Job, Stage
from gristmill.pipeline.stages.dedup import PiecesFacts, PiecesSlice


@dataclass(frozen=True, slots=True)
class Split(Counts):
    """A shard's documents and the pieces they were split into."""

    documents: int = 0
    pieces: int = 0


@dataclass(frozen=True, slots=True)
class CutPieces(Counts):
    cut: int = 0


FRAME = Frame(
    f"{__name__}:FRAME",
    "pieces",
    (
        OverShards("keys", pieces.map_pieces, (Split,), rows="pieces"),
        OverRanges(
            "decide", pieces.reduce_pieces, (CutPieces,), pieces.PART_RECORDS, rows="cut", kind="cuts"
        ),
    ),
    pieces.apply_pieces,
    CUTS,
)


def pieces_stage(job: Job[PiecesSlice]) -> Stage:
    done = yield from FRAME.over(job)
    return PiecesFacts(CutPieces.total(done.passes[-1]).cut, replaced_files=done.replaced_files)
