"""The frame that stages of deduplication share: passes over shards and over ranges of keys, then applying.

    FRAME = Frame(
        "gristmill.pipeline.phases.dedup.exact:FRAME",
        "exact",
        (
            OverShards("keys", exact.map_exact, (Keyed,), rows="keys"),
            OverRanges("decide", exact.reduce_exact, (Decided,), exact.PART_RECORDS, rows="clusters"),
        ),
        exact.apply_exact,
        DECISIONS,
    )
    done = yield from FRAME.over(job)

Every pass reads the sorted runs that the one before wrote, and the last one's are applied to the documents. A
pass over shards calls its work with the settings, the shard's path, the number of its first row, the runs of
the pass before (the first pass has none) and the path to write; one over ranges with the settings, the runs,
the least and the end of its keys, and the path to write. Both return counts; where `files` is among them, the
work wrote so many files, `out.0` and so on. The frame is found again by its name where a task runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.dedup.sorted.runs import key_range, num_parts
from gristmill.facts import Facts
from gristmill.files.location import ByRange
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.dedup.applied import write_applied
from gristmill.pipeline.phases.ranges import runs_here
from gristmill.pipeline.phases.shuffle import (
    DocumentFile,
    by_range,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
)
from gristmill.pipeline.run.job import Attempt, Job, Phase
from gristmill.pipeline.run.stage import resolve


@dataclass(frozen=True, slots=True)
class OverShards:
    """A pass of one task a shard: `facts` are what its record states of the counts, `rows` names the count of
    records written, and `kind` its files, where they are not called as the phase. `tells_documents`: its work
    is also told how many documents all shards have."""

    name: str
    work: Callable[..., dict[str, Any]]
    facts: tuple[type[Facts], ...]
    rows: str
    kind: str = ""
    tells_documents: bool = False

    def phase(
        self, task: dict[str, Any], shards: Sequence[DocumentFile], _settings: Any, _rows: int
    ) -> Phase:
        return over_shards(self.name, run_shard, shards, **task)


@dataclass(frozen=True, slots=True)
class OverRanges:
    """A pass of one task for each range of keys, of `part_records` records on the average: a number, or a
    function of the settings. `doubling`: of ranges there is a power of two, for keys whose first bits belong
    together."""

    name: str
    work: Callable[..., dict[str, Any]]
    facts: tuple[type[Facts], ...]
    part_records: int | Callable[[Any], int]
    rows: str
    kind: str = ""
    doubling: bool = False

    def phase(self, task: dict[str, Any], _shards: Sequence[DocumentFile], settings: Any, rows: int) -> Phase:
        most = self.part_records if isinstance(self.part_records, int) else self.part_records(settings)
        parts = num_parts(rows, most)
        return over_parts(
            self.name, run_range, 1 << (parts - 1).bit_length() if self.doubling else parts, **task
        )


Pass = OverShards | OverRanges


@dataclass(frozen=True, slots=True)
class Done:
    """What a frame did: the records of each pass and of applying, in task order, and the files that nobody
    needs any more."""

    shards: list[DocumentFile]
    passes: tuple[list[TaskRecord], ...]
    applied: list[TaskRecord]
    replaced_files: list[str]


@dataclass(frozen=True, slots=True)
class Frame:
    """The passes of a stage, and how what they found is applied; `field` holds its settings in the step's
    slice."""

    name: str  # module:attribute
    field: str
    passes: tuple[Pass, ...]
    apply: Callable[..., Any]
    decisions: pa.Schema

    def over(self, job: Job[Any]) -> Generator[Phase, list[TaskRecord], Done]:
        settings = getattr(job.settings, self.field)
        shards = shards_of(job)
        done: list[list[TaskRecord]] = []
        runs: list[ByRange] = []
        rows = documents = sum(entry.rows for _path, entry in job.files("documents"))
        for number, each in enumerate(self.passes):
            over_ranges = isinstance(each, OverRanges)
            task: dict[str, Any] = {"frame": self.name, "number": number}
            task["runs"] = runs if over_ranges else [run.path for run in runs]
            if isinstance(each, OverShards) and each.tells_documents:
                task["documents"] = documents
            records = yield each.phase(task, shards, settings, rows)
            done.append(records)
            kind = each.kind or each.name
            runs = by_range(job, records, kind)
            rows = sum(entry.rows for record in records for entry in record.named(kind))
        applied = yield over_shards(
            "apply", apply_shard, shards, frame=self.name, runs=[run.path for run in runs]
        )
        return Done(shards, tuple(done), applied, passed_on(job, *done))


def run_shard(
    task: Attempt[Any],
    shard: DocumentFile,
    frame: str,
    number: int,
    runs: list[str],
    documents: int | None = None,
) -> None:
    """One shard of a pass."""
    whole: Frame = resolve(frame)
    before = [[Path(run) for run in runs]] if number else []
    told = {} if documents is None else {"num_documents": documents}
    _run(task, whole, number, Path(shard.path), shard.first_row, *before, **told)


def run_range(
    task: Attempt[Any], part: int, parts: int, frame: str, number: int, runs: list[ByRange]
) -> None:
    """One range of keys of a pass."""
    low, high = key_range(part, parts)
    _run(task, resolve(frame), number, runs_here(task, runs, low, high), low, high)


def _run(task: Attempt[Any], frame: Frame, number: int, *arguments: Any, **told: int) -> None:
    each = frame.passes[number]
    kind = each.kind or each.name
    out = task.scratch / f"{kind}.run"
    counts = each.work(getattr(task.settings, frame.field), *arguments, out, **told)
    task.record.state(*(facts.of(counts) for facts in each.facts))
    if "files" not in counts:
        task.publish(out, kind, counts[each.rows])
        return
    for place in range(counts["files"]):
        # The records are counted once, with the first file.
        task.publish(out.with_suffix(f".{place}"), kind, 0 if place else counts[each.rows])


def apply_shard(task: Attempt[Any], shard: DocumentFile, frame: str, runs: list[str]) -> None:
    """Write what a shard keeps and loses; every document has a row of decisions."""
    whole: Frame = resolve(frame)
    settings = getattr(task.settings, whole.field)
    batches = whole.apply(settings, Path(shard.path), shard.first_row, [Path(run) for run in runs])
    write_applied(task, shard, batches, whole.decisions)
