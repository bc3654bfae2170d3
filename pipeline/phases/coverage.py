"""Tables of what a source covers, and selection of its documents by age and domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.classifiers import coverage as covering
from gristmill.pipeline.phases.shuffle import files, over_parts, passed_on
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.coverage import CoverageSlice
from gristmill.storage import ParquetWriter, read_tables

TABLE_FILE = "coverage.parquet"
NOTED = (pa.field("domain", pa.string()), pa.field("draw", pa.float64()))


def coverage(job: Job[CoverageSlice]) -> Stage:
    """Tally domains over all files; where something is selected, keep or remove documents; last, the table of
    what is left."""
    piece, settings = job.settings, job.settings.coverage
    paths = job.paths("documents", piece.source)
    tallied = yield over_paths("tally", tally_file, paths, may_lose=True)
    parts = max(1, -(-sum(record.counts["with_domain"] for record in tallied) // covering.PART_RECORDS))
    runs = {
        "runs": files(job, tallied, "domain-run"),
        "names": files(job, tallied, "domain-names"),
    }
    merged = yield over_parts("merge", merge_part, parts, **runs)
    left = tallied
    if settings.selects:
        common = {"bounds": files(job, merged, "domain-bounds")}
        told = [(record.task, paths[int(record.task)]) for record in tallied if not record.is_lost]
        tasks = [Task(key, keep_file, {"path": str(path)}) for key, path in told]
        left = yield Phase("keep", tasks, common, may_lose=True)
    arguments = {
        "domains": [record.extra["domains"] for record in merged],
        "tallies": [record.extra["coverage"] for record in left if not record.is_lost],
    }
    (table,) = yield Phase("table", [Task("all", write_table, arguments)])
    return {**table.counts, **passed_on(job, tallied, merged)}


def tally_file(task: Attempt[CoverageSlice], path: str) -> None:
    run, names = task.scratch / "domains.run", task.scratch / "names.arrow"
    task.record.extra["coverage"] = covering.tally_domains(
        task.settings.coverage, Path(path), run, names, task.seed
    )
    task.record.counts["with_domain"] = run.stat().st_size // covering.RECORD.itemsize
    task.publish(run, "domain-run", task.record.counts["with_domain"])
    task.publish(names, "domain-names")


def merge_part(
    task: Attempt[CoverageSlice], part: int, parts: int, runs: Sequence[str], names: Sequence[str]
) -> None:
    bounds = task.scratch / "bounds.run"
    sides = [Path(run) for run in runs], [Path(name) for name in names]
    task.record.extra["domains"] = asdict(
        covering.merge_domains(task.settings.coverage, *sides, part, parts, bounds)
    )
    task.publish(bounds, "domain-bounds")


def keep_file(task: Attempt[CoverageSlice], path: str, bounds: Sequence[str]) -> None:
    sieve = Sieve(task, Path(path), task.settings.source, noted=NOTED)
    limits = covering.Bounds([Path(part) for part in bounds])
    tallies: dict[str, Counter[str]] = {}
    for table in read_tables(Path(path)):
        decided = covering.removal(task.settings.coverage, table, limits, task.seed)
        sieve.decide(table, decided.rules, decided.values, decided.bounds, decided.noted)
        covering.merge_tallies(tallies, covering.tally(table.filter(decided.rules.is_null())))
    task.record.extra["coverage"] = tallies
    sieve.publish()


def write_table(
    task: Attempt[CoverageSlice],
    domains: Sequence[dict[str, Any]],
    tallies: Sequence[dict[str, dict[str, int]]],
) -> None:
    total: dict[str, Counter[str]] = {}
    for part in tallies:
        covering.merge_tallies(total, part)
    ranges = [covering.Domains(**part) for part in domains]
    with ParquetWriter(task.scratch / TABLE_FILE, covering.TABLE) as writer:
        writer.write(covering.table_of(task.settings.source, ranges, total))
    task.record.counts = {
        "documents": sum(total.get("length", Counter()).values()),
        "num_domains": sum(part.num_domains for part in ranges),
        "with_domain": sum(part.documents for part in ranges),
    }
    task.publish(writer.path, "coverage", writer.num_rows, source=task.settings.source, name=TABLE_FILE)
