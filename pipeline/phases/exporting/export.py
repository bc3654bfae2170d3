"""Write a run's documents as files of a size, side by side: each task reads some files and writes its own.

The target is a folder here or at a URL; what a task writes is named by its number, so that a second attempt
writes the same files anew. The records of the tasks, by which a stopped export goes on, lie below the target
until it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.facts import StepFacts
from gristmill.files.location import location
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import read_tables
from gristmill.heldout import is_heldout, units
from gristmill.pipeline.phases.exporting.export_files import deliver, open_file
from gristmill.pipeline.phases.exporting.export_layouts import LAYOUTS, Handing
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.stage import Slice, StageKind

SPLITS = ("train", "heldout")


class ExportSlice(Slice):
    """How documents are handed over; `fields` is the schema of all files, as Arrow serialises it, in hex."""

    target: str
    format: str
    layout: str
    max_bytes: int
    heldout_fraction: float | None = None  # None: no splits
    heldout_name: str = "heldout"
    fields: str = ""


EXPORT = StageKind("export", ExportSlice, "gristmill.pipeline.phases.exporting.export:export", version=2)


@dataclass(frozen=True, slots=True)
class HandedFile:
    """A file of documents, and the index of its tokens where it was encoded."""

    path: str
    num_bytes: int
    handing: Handing
    tokens: str | None = None


@dataclass(frozen=True, slots=True)
class ExportFacts(StepFacts):
    """The files that were written, by name, and the rows in them."""

    files: list[str] = field(default_factory=list)
    rows: int = 0


def export(job: Job[ExportSlice]) -> Stage:
    """One task for each group of files that together make about one file of the size that is asked for."""
    groups = grouped(job.carried["files"], job.settings.max_bytes)
    tasks = [Task(f"{number:05d}", export_files, {"files": group}) for number, group in enumerate(groups)]
    records = yield Phase("export", tasks)
    return ExportFacts(
        files=[name for record in records for name in record.extra.get("files", ())],
        rows=sum(record.counts.get("rows", 0) for record in records),
    )


def grouped(files: Sequence[HandedFile], max_bytes: int) -> list[list[HandedFile]]:
    """Put neighbours of one source together as long as they stay within a size."""
    groups: list[list[HandedFile]] = []
    room = 0
    for file in files:
        fits = groups and file.num_bytes <= room and groups[-1][0].handing.source == file.handing.source
        if not fits:
            groups.append([])
            room = max_bytes
        groups[-1].append(file)
        room -= file.num_bytes
    return groups


def export_files(task: Attempt[ExportSlice], files: Sequence[HandedFile]) -> None:
    """Write a group's rows, each split into files of its own, a new one where the last is large enough."""
    settings = task.settings
    schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(settings.fields)))
    ending = "jsonl" + settings.format[5:] if settings.format.startswith("jsonl") else settings.format
    open_files: dict[str, Any] = {}
    numbers = dict.fromkeys(SPLITS, 0)
    written: list[str] = []

    def close(split: str) -> None:
        file, path, name = open_files.pop(split)
        file.close()
        deliver(path, location(settings.target) / name)
        written.append(name)

    rows = 0
    for file in files:
        for table in handed_tables(file, settings.layout):
            for split, part in _splits(table, file, settings, task.seed):
                if split in open_files and open_files[split][0].size() >= settings.max_bytes:
                    close(split)
                if split not in open_files:
                    stem = settings.heldout_name if split == "heldout" else "train"
                    more = f"-{numbers[split]:03d}" if numbers[split] else ""
                    name = f"{stem}-{task.record.task}{more}.{ending}"
                    path = task.scratch / name
                    numbers[split] += 1
                    open_files[split] = (open_file(path, settings.format, schema), path, name)
                open_files[split][0].write(
                    LAYOUTS[settings.layout](part, file.handing), settings.layout, file.handing
                )
                rows += part.num_rows
                task.tell(rows)
    for split in list(open_files):
        close(split)
    task.record.counts["rows"] = rows
    task.record.extra["files"] = written


def handed_tables(file: HandedFile, layout: str) -> Iterator[pa.Table]:
    """The tables of a file; for FineWeb's layout with the tokens of each document, where these are known.

    As datatrove counts them for FineWeb, without the end token. Documents that no encoder takes are not in
    the index, so rows are found by id.
    """
    index = None
    if layout == "fineweb" and file.tokens is not None:
        index = read_parquet(location(file.tokens), ["id", "tokens"]).combine_chunks()
    for table in read_tables(location(file.path)):
        if index is not None:
            rows = pc.index_in(table["id"], value_set=index["id"].combine_chunks())
            tokens = index["tokens"].cast(pa.int64()).take(rows)
            table = table.append_column("token_count", pc.subtract(tokens, 1))
        yield table


def _splits(
    table: pa.Table, file: HandedFile, settings: ExportSlice, seed: int
) -> Iterator[tuple[str, pa.Table]]:
    if settings.heldout_fraction is None:
        yield "train", table
        return
    held = is_heldout(seed, settings.heldout_fraction, units(table))
    for split, mask in (("train", ~held), ("heldout", held)):
        if np.any(mask):
            yield split, table.filter(pa.array(mask))
