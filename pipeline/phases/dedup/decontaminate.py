"""Remove or cut documents that hold benchmark items, and report every hit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.dedup import decontaminate
from gristmill.dedup.below.cuts import CUTS
from gristmill.dedup.decisions import Applied
from gristmill.dedup.grams import index_benchmarks
from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.errors import UsageError
from gristmill.facts import Counts, Facts
from gristmill.files.storage import ParquetWriter
from gristmill.hashing import sha256_file
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.dedup.applied import write_applied
from gristmill.pipeline.phases.shuffle import DocumentFile, files, over_shards, shards_of
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.stages.dedup import DecontaminateFacts, DecontaminateSlice

LONGEST = 8  # overlaps shown of each benchmark


@dataclass(frozen=True, slots=True)
class Items(Counts):
    """What was read of all benchmarks: rows, items, texts too short to look for, n-grams of several items."""

    rows: int = 0
    items: int = 0
    too_short: int = 0
    shared_ngrams: int = 0


@dataclass(frozen=True, slots=True)
class Benchmarks(Facts):
    benchmarks: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class HitRows(Counts):
    hits: int = 0


@dataclass(frozen=True, slots=True)
class Hits(Facts):
    """By benchmark: documents that hold some of it, lines found, the longest overlaps."""

    hits: dict[str, dict[str, Any]]


def benchmark_digests(settings: DecontaminateSettings) -> dict[str, str]:
    """What the step depends on besides its settings: the benchmark files' content."""
    for path in settings.benchmarks:
        if not Path(path).is_file():
            raise UsageError(
                f"the benchmark `{path}` is no file",
                hint="`dedup.decontaminate.benchmarks` are paths of JSON lines",
            )
    return {path: sha256_file(Path(path)) for path in settings.benchmarks}


def decontaminate_stage(job: Job[DecontaminateSlice]) -> Stage:
    read = yield Phase("benchmarks", [Task("all", read_benchmarks)])
    (grams,), (items,) = files(job, read, "grams"), files(job, read, "items")
    applied = yield over_shards("apply", apply_shard, shards_of(job), grams=grams, items=items)
    told = _by_benchmark(read[0].stated(Benchmarks).benchmarks, applied)
    return DecontaminateFacts(
        **read[0].stated(Items).as_json(),
        hits=HitRows.total(applied).hits,
        benchmarks=told,
        notes=[_said(job.settings.decontaminate, facts) for facts in told],
    )


def _by_benchmark(told: list[dict[str, Any]], applied: list[TaskRecord]) -> list[dict[str, Any]]:
    """Add to what was read of each benchmark what documents hold of it, the longest overlaps first."""
    for facts in told:
        found = [part for record in applied if (part := record.stated(Hits).hits.get(facts["benchmark"]))]
        longest = [overlap for part in found for overlap in part["longest"]]
        facts["documents"] = sum(part["documents"] for part in found)
        facts["items_found"] = len({line for part in found for line in part["lines"]})
        facts["longest"] = sorted(longest, key=_by_length)[:LONGEST]
    return told


def _by_length(overlap: dict[str, Any]) -> tuple[Any, ...]:
    return (-overlap["longest"], overlap["id"], overlap["line"])


def _said(settings: DecontaminateSettings, facts: dict[str, Any]) -> str:
    layout = "every string" if facts["layout"] == "strings" else facts["layout"]
    return (
        f"{facts['benchmark']}: {facts['items']:,} items of {facts['rows']:,} rows (layout {layout}),"
        f" {facts['too_short']:,} texts under {settings.min_words} words not looked for;"
        f" found in {facts['documents']:,} documents"
    )


def read_benchmarks(task: Attempt[DecontaminateSlice]) -> None:
    grams, items = task.scratch / "grams.run", task.scratch / "items.parquet"
    counts, told = index_benchmarks(task.settings.decontaminate, grams, items)
    task.record.state(Items(**counts), Benchmarks(told))
    task.publish(grams, "grams")
    task.publish(items, "items", counts["items"])


def apply_shard(task: Attempt[DecontaminateSlice], shard: DocumentFile, grams: str, items: str) -> None:
    found: dict[str, dict[str, Any]] = {}
    with ParquetWriter(task.scratch / "hits.parquet", decontaminate.HITS) as writer:

        def batches() -> Iterator[Applied]:
            for applied, hits in decontaminate.decontaminate(
                task.settings.decontaminate, Path(grams), Path(items), Path(shard.path)
            ):
                writer.write(hits)
                _note(found, hits)
                yield applied

        write_applied(task, shard, batches(), CUTS)
    task.record.state(HitRows(writer.num_rows), Hits(found))
    task.publish(writer.path, "hits", writer.num_rows, source=shard.source)


def _note(found: dict[str, dict[str, Any]], hits: pa.Table) -> None:
    """Count documents, list items, and keep the longest overlaps of each benchmark."""
    by_benchmark: dict[str, list[dict[str, Any]]] = {}
    for row in hits.to_pylist():
        by_benchmark.setdefault(row["benchmark"], []).append({**row, "id": row["id"].hex()})
    for benchmark, rows in by_benchmark.items():
        mine = found.setdefault(benchmark, {"documents": 0, "lines": [], "longest": []})
        mine["documents"] += len({row["id"] for row in rows})
        mine["lines"] = sorted({*mine["lines"], *(row["line"] for row in rows)})
        mine["longest"] = sorted([*mine["longest"], *rows], key=_by_length)[:LONGEST]
