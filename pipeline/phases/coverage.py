"""Tables of what a source covers, and selection of its documents by age and domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.classifiers import coverage as covering
from gristmill.facts import Counts, Facts
from gristmill.files.storage import ParquetWriter, read_tables
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.phases.shuffle import files, over_parts, passed_on
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.coverage import CoverageFacts, CoverageSlice

TABLE_FILE = "coverage.parquet"
NOTED = (pa.field("domain", pa.string()), pa.field("draw", pa.float64()))


@dataclass(frozen=True, slots=True)
class Tallied(Counts):
    """Records of domains in one file's run."""

    with_domain: int = 0


@dataclass(frozen=True, slots=True)
class Covered(Counts):
    """Documents of the source, its domains, and the documents that have one."""

    documents: int = 0
    num_domains: int = 0
    with_domain: int = 0


@dataclass(frozen=True, slots=True)
class Tally(Facts):
    """Documents by what is counted, then by value."""

    coverage: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Merged(Facts):
    domains: dict[str, Any]


def coverage(job: Job[CoverageSlice]) -> Stage:
    """Tally domains over all files; where something is selected, keep or remove documents; last, the table of
    what is left."""
    piece, settings = job.settings, job.settings.coverage
    paths = job.paths("documents", piece.source)
    tallied = yield over_paths("tally", tally_file, paths, may_lose=True)
    parts = max(1, -(-Tallied.total(tallied).with_domain // covering.PART_RECORDS))
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
        "domains": [record.stated(Merged).domains for record in merged],
        "tallies": [record.stated(Tally).coverage for record in left if not record.is_lost],
    }
    (table,) = yield Phase("table", [Task("all", write_table, arguments)])
    total = table.stated(Covered)
    return CoverageFacts(**total.as_json(), replaced_files=passed_on(job, tallied, merged))


def tally_file(task: Attempt[CoverageSlice], path: str) -> None:
    run, names = task.scratch / "domains.run", task.scratch / "names.arrow"
    tally = covering.tally_domains(task.settings.coverage, Path(path), run, names, task.seed)
    num_domains = run.stat().st_size // covering.RECORD.itemsize
    task.record.state(Tally(tally), Tallied(num_domains))
    task.publish(run, "domain-run", num_domains)
    task.publish(names, "domain-names")


def merge_part(
    task: Attempt[CoverageSlice], part: int, parts: int, runs: Sequence[str], names: Sequence[str]
) -> None:
    bounds = task.scratch / "bounds.run"
    sides = [Path(run) for run in runs], [Path(name) for name in names]
    domains = covering.merge_domains(task.settings.coverage, *sides, part, parts, bounds)
    task.record.state(Merged(asdict(domains)))
    task.publish(bounds, "domain-bounds")


def keep_file(task: Attempt[CoverageSlice], path: str, bounds: Sequence[str]) -> None:
    sieve = Sieve(task, extra_fields(Path(path)), task.settings.source, noted=NOTED)
    limits = covering.Bounds([Path(part) for part in bounds])
    tallies: dict[str, Counter[str]] = {}
    for table in read_tables(Path(path)):
        decided = covering.removal(task.settings.coverage, table, limits, task.seed)
        sieve.decide(table, decided.rules, decided.values, decided.bounds, decided.noted)
        covering.merge_tallies(tallies, covering.tally(table.filter(decided.rules.is_null())))
    task.record.state(Tally(tallies))
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
    covered = Covered(
        documents=sum(total.get("length", Counter()).values()),
        num_domains=sum(part.num_domains for part in ranges),
        with_domain=sum(part.documents for part in ranges),
    )
    task.record.state(covered)
    task.publish(writer.path, "coverage", writer.num_rows, source=task.settings.source, name=TABLE_FILE)
