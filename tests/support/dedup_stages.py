"""Steps of deduplication over made documents, run as a plan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.manifest import Manifest
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import Plan, run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import declared
from gristmill.pipeline.run.step import Step
from gristmill.pipeline.stages.dedup import EXACT, FUZZY, PIECES, ExactSlice, FuzzySlice, PiecesSlice
from tests.support.dedup_drive import write_shards
from tests.support.made_stage import MADE, MadeSlice


@pytest.fixture(scope="module", autouse=True)
def made_stage() -> Iterator[None]:
    path, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), str(Path(__file__).parents[2])
    with declared(kinds=(MADE,)):
        yield
    os.environ.pop("PYTHONPATH") if path is None else os.environ.update(PYTHONPATH=path)


def run(
    out: Path,
    table: pa.Table,
    sizes: list[int],
    settings: MadeSlice,
    engine: str = "inline",
    workers: int = 1,
) -> dict[str, Manifest]:
    folder = out.with_name(f"{out.name}-in")
    shards = (
        [path for path, _row in write_shards(folder, table, sizes)]
        if not folder.exists()
        else sorted(folder.glob("*"))
    )
    kept = {"keep_removed": settings.keep_removed}
    made = settings.model_copy(update={"paths": tuple(map(str, shards))})
    plan = Plan(
        "dedup",
        1,
        [
            Step("made", MADE, made),
            Step("dedup-exact", EXACT, ExactSlice(exact=settings.exact, **kept), ("made",)),
            Step("dedup-fuzzy", FUZZY, FuzzySlice(fuzzy=settings.fuzzy, **kept), ("dedup-exact",)),
            *(
                [Step("dedup-lines", PIECES, PiecesSlice(pieces=settings.pieces, **kept), ("dedup-fuzzy",))]
                if settings.pieces
                else []
            ),
        ],
        {},
        0,
    )
    return run_plan(plan, out, EngineSettings(kind=engine, workers=workers), Progress(quiet=True)).manifests


def read(manifest: Manifest, kind: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in manifest.paths(kind)]).sort_by("id")


def digests(manifests: dict[str, Manifest]) -> list[str]:
    return [entry.sha256 for manifest in manifests.values() for entry in manifest.files]
