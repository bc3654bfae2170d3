"""What stages share that map files to sorted runs and reduce ranges of keys: phases, and passing files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gristmill.files.location import ByRange
from gristmill.manifest import TaskRecord
from gristmill.pipeline.run.job import Job, Phase, Task


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A file of documents of one source, and the number of its first row among all."""

    path: str
    source: str
    first_row: int


def shards_of(job: Job[Any]) -> list[DocumentFile]:
    """Number the rows of all input files, in the order of the inputs and of their manifests."""
    shards, row = [], 0
    for path, entry in job.files("documents"):
        shards.append(DocumentFile(str(path), entry.source or "", row))
        row += entry.rows
    return shards


def over_shards(name: str, function: Any, shards: Sequence[DocumentFile], **common: Any) -> Phase:
    """A phase of one task for each shard."""
    return Phase(
        name,
        [Task(f"{number:05d}", function, {"shard": shard}) for number, shard in enumerate(shards)],
        common,
    )


def over_parts(name: str, function: Any, parts: int, **common: Any) -> Phase:
    """A phase of one task for each part of the key space."""
    common["parts"] = parts
    return Phase(name, [Task(f"{part:05d}", function, {"part": part}) for part in range(parts)], common)


def files(job: Job[Any], records: Iterable[TaskRecord], kind: str) -> list[str]:
    return [str(job.folder / entry.path) for record in records for entry in record.named(kind)]


def by_range(job: Job[Any], records: Iterable[TaskRecord], kind: str) -> list[ByRange]:
    """Sorted runs, for tasks that read a range of the keys of each."""
    return [
        ByRange(str(job.folder / entry.path), entry.bytes)
        for record in records
        for entry in record.named(kind)
    ]


def passed_on(job: Job[Any], *phases: Sequence[TaskRecord], but: Sequence[str] = ()) -> list[str]:
    """Drop the files that only phases of this step read, all `but` some kinds, and return their paths: they
    are no part of its output."""
    paths = [
        entry.path
        for records in phases
        for record in records
        for entry in record.files
        if entry.kind not in but
    ]
    job.left.discard(job.folder, [job.folder / path for path in paths])
    return paths
