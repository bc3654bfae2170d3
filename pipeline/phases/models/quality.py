"""Rank a source's documents: score each file, find the cuts between buckets over all, then keep or remove."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.cells import BUCKET as BUCKET_COLUMN
from gristmill.cells import Cells, add_cells, sum_cells
from gristmill.classifiers import rank
from gristmill.classifiers.topics.settings import QualitySettings
from gristmill.facts import Facts
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import ParquetWriter, read_tables
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.phases.shuffle import passed_on
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.quality import QualityFacts, QualitySlice

BUCKET = pa.field(BUCKET_COLUMN, pa.int32())
RULE = "quality.bucket"


@dataclass(frozen=True, slots=True)
class Cuts(Facts):
    """The scores between buckets, by score and group; a cut below every score is null."""

    cuts: dict[str, dict[str, list[float | None]]]


@dataclass(frozen=True, slots=True)
class CellTally(Facts):
    """Documents and bytes of each cell, and documents without any score."""

    cells: Cells
    unranked: int


def quality(job: Job[QualitySlice]) -> Stage:
    """Score, find the cuts, then keep what lies in a bucket that stays."""
    piece = job.settings
    paths = job.paths("documents", piece.source)
    scored = yield over_paths("score", score_file, paths, may_lose=True)
    scores = {
        record.task: str(job.folder / entry.path) for record in scored for entry in record.named("ranks")
    }
    (cut,) = yield Phase("cuts", [Task("all", find_cuts, {"scores": [*scores.values()]})])
    found = cut.stated(Cuts).cuts
    tasks = [
        Task(key, keep_file, {"path": str(paths[int(key)]), "scores": path}) for key, path in scores.items()
    ]
    kept = yield Phase("keep", tasks, {"cuts": found}, may_lose=True)
    tallies = [record.stated(CellTally) for record in kept if not record.is_lost]
    return QualityFacts(
        buckets=piece.quality.buckets,
        cells=add_cells(tally.cells for tally in tallies),
        cuts=found,
        unranked=sum(tally.unranked for tally in tallies),
        warnings=_warnings(sum(tally.unranked for tally in tallies), piece.source),
        replaced_files=passed_on(job, scored),
    )


def _warnings(unranked: int, source: str) -> list[str] | None:
    if not unranked:
        return None
    return [f"{unranked:,} documents of `{source}` have no score to be ranked by and are in bucket 0"]


def score_file(task: Attempt[QualitySlice], path: str) -> None:
    settings = task.settings.quality
    rankers = rank.open_rankers(settings)
    names = rank.names_of(settings)
    schema = pa.schema([pa.field("group", pa.string()), *(pa.field(name, pa.float32()) for name in names)])
    with ParquetWriter(task.scratch / "ranks.parquet", schema) as writer:
        for table in read_tables(Path(path)):
            scores = rank.measure(settings, rankers, table)
            columns = [
                pa.array(scores[:, place], mask=np.isnan(scores[:, place])) for place in range(len(names))
            ]
            writer.write(pa.table([pa.array(rank.groups_of(settings, table)), *columns], schema=schema))
    task.publish(writer.path, "ranks", writer.num_rows)


def _scores(settings: QualitySettings, table: pa.Table) -> rank.Scores:
    columns = [pc.fill_null(table[name], np.nan).to_numpy() for name in rank.names_of(settings)]
    return np.ascontiguousarray(np.stack(columns, axis=1), np.float32)


def find_cuts(task: Attempt[QualitySlice], scores: Sequence[str]) -> None:
    settings = task.settings.quality

    def read() -> Iterator[tuple[list[str], rank.Scores]]:
        for path in scores:
            for table in read_tables(Path(path)):
                yield table["group"].to_pylist(), _scores(settings, table)

    cuts = rank.find_cuts(settings, read)
    task.record.state(
        Cuts(
            {
                name: {group: [c if np.isfinite(c) else None for c in own] for group, own in groups.items()}
                for name, groups in cuts.items()
            }
        )
    )


def keep_file(
    task: Attempt[QualitySlice],
    path: str,
    scores: str,
    cuts: Mapping[str, Mapping[str, Sequence[float | None]]],
) -> None:
    settings = task.settings.quality
    bounds = {
        name: {group: [-np.inf if c is None else c for c in own] for group, own in groups.items()}
        for name, groups in cuts.items()
    }
    noted = [pa.field(f"score_{name}", pa.float32()) for name in rank.names_of(settings)]
    sieve = Sieve(
        task, extra_fields(Path(path)), task.settings.source, carried=(BUCKET,), noted=(BUCKET, *noted)
    )
    known = read_parquet(scores)
    cells: list[Cells] = []
    unranked = 0
    for table in read_tables(Path(path)):
        mine = known.slice(sieve.num_rows, table.num_rows)
        found = _scores(settings, mine)
        bucket = rank.buckets(settings, found, mine["group"].to_pylist(), bounds)
        unranked += int(np.isnan(found).all(axis=1).sum())
        goes = bucket < settings.keep_from
        rules = pa.array(np.where(goes, RULE, "").tolist(), pa.string(), mask=~goes)
        limits = pa.array(np.full(len(bucket), float(settings.keep_from)))
        columns: dict[str, Any] = {BUCKET.name: pa.array(bucket, pa.int32())}
        columns |= {f"score_{name}": mine[name] for name in rank.names_of(settings)}
        lengths = pc.fill_null(pc.binary_length(table["text"]), 0).cast(pa.int64())
        placed = table.drop_columns([BUCKET.name] if BUCKET.name in table.schema.names else [])
        placed = placed.append_column(BUCKET, columns[BUCKET.name])
        cells.append(sum_cells(placed, bytes=lengths))
        sieve.decide(table, rules, pa.array(bucket.astype(np.float64)), limits, columns)
    task.record.state(CellTally(add_cells(cells), unranked))
    sieve.publish()
