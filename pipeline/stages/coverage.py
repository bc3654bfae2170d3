"""Tables of what a source covers, and selection of its documents by age and domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.classifiers import coverage as covering
from gristmill.classifiers.settings import CoverageSettings
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.run.outcomes import KeepRemoved
from gristmill.pipeline.stages.dedup import files, over_parts, passed_on
from gristmill.pipeline.stages.sieve import Sieve
from gristmill.storage import ParquetWriter, read_tables

TABLE_FILE = "coverage.parquet"
NOTED = (pa.field("domain", pa.string()), pa.field("draw", pa.float64()))


def coverage(job: Job) -> Stage:
    """Tally domains over all files; where something is selected, keep or remove documents; last, the table of
    what is left."""
    piece, settings = job.settings, job.settings.coverage
    paths = job.paths("documents", piece.source)
    common = {"settings": settings, "seed": job.seed}
    tallied = yield over_paths("tally", tally_file, paths, may_lose=True, **common)
    parts = max(1, -(-sum(record.counts["with_domain"] for record in tallied) // covering.PART_RECORDS))
    runs = {
        "runs": files(job, tallied, "domain-run"),
        "names": files(job, tallied, "domain-names"),
        "settings": settings,
    }
    merged = yield over_parts("merge", merge_part, parts, **runs)
    left = tallied
    if settings.selects:
        common |= {
            "bounds": files(job, merged, "domain-bounds"),
            "source": piece.source,
            "keep_removed": piece.keep_removed,
        }
        told = [(record.task, paths[int(record.task)]) for record in tallied if not record.is_lost]
        tasks = [Task(key, keep_file, {"path": str(path)}) for key, path in told]
        left = yield Phase("keep", tasks, common, may_lose=True)
    arguments = {
        "source": piece.source,
        "domains": [record.extra["domains"] for record in merged],
        "tallies": [record.extra["coverage"] for record in left if not record.is_lost],
    }
    (table,) = yield Phase("table", [Task("all", write_table, arguments)])
    return {**table.counts, **passed_on(job, tallied, merged)}


def tally_file(task: Attempt, path: str, settings: CoverageSettings, seed: int) -> None:
    run, names = task.scratch / "domains.run", task.scratch / "names.arrow"
    task.record.extra["coverage"] = covering.tally_domains(settings, Path(path), run, names, seed)
    task.record.counts["with_domain"] = run.stat().st_size // covering.RECORD.itemsize
    task.publish(run, "domain-run", task.record.counts["with_domain"])
    task.publish(names, "domain-names")


def merge_part(
    task: Attempt,
    part: int,
    parts: int,
    runs: Sequence[str],
    names: Sequence[str],
    settings: CoverageSettings,
) -> None:
    bounds = task.scratch / "bounds.run"
    sides = [Path(run) for run in runs], [Path(name) for name in names]
    task.record.extra["domains"] = asdict(covering.merge_domains(settings, *sides, part, parts, bounds))
    task.publish(bounds, "domain-bounds")


def keep_file(
    task: Attempt,
    path: str,
    settings: CoverageSettings,
    bounds: Sequence[str],
    source: str,
    seed: int,
    keep_removed: KeepRemoved,
) -> None:
    sieve = Sieve(task, Path(path), source, seed, keep_removed, noted=NOTED)
    limits = covering.Bounds([Path(part) for part in bounds])
    tallies: dict[str, Counter[str]] = {}
    for table in read_tables(Path(path)):
        decided = covering.removal(settings, table, limits, seed)
        sieve.decide(table, decided.rules, decided.values, decided.bounds, decided.noted)
        covering.merge_tallies(tallies, covering.tally(table.filter(decided.rules.is_null())))
    task.record.extra["coverage"] = tallies
    sieve.publish()


def write_table(
    task: Attempt,
    source: str,
    domains: Sequence[dict[str, Any]],
    tallies: Sequence[dict[str, dict[str, int]]],
) -> None:
    total: dict[str, Counter[str]] = {}
    for part in tallies:
        covering.merge_tallies(total, part)
    ranges = [covering.Domains(**part) for part in domains]
    with ParquetWriter(task.scratch / TABLE_FILE, covering.TABLE) as writer:
        writer.write(covering.table_of(source, ranges, total))
    task.record.counts = {
        "documents": sum(total.get("length", Counter()).values()),
        "num_domains": sum(part.num_domains for part in ranges),
        "with_domain": sum(part.documents for part in ranges),
    }
    task.publish(writer.path, "coverage", writer.num_rows, source=source, name=TABLE_FILE)
