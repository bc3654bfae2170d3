"""A stage that writes made documents, so that deduplication can be run as steps of a plan without any other
part."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from gristmill.dedup.settings import ExactSettings, FuzzySettings
from gristmill.ledger import Books
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.outcomes import DocumentOutputs
from gristmill.pipeline.stages.adopt import text_bytes


class Slice(BaseModel):
    """Stands for every slice of these plans."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: tuple[str, ...] = ()
    exact: ExactSettings = ExactSettings()
    fuzzy: FuzzySettings = FuzzySettings()
    pieces: Any = None
    keep_removed: str = "text"


def made(job: Job) -> Stage:
    yield Phase(
        "made",
        [Task(f"{number:05d}", take, {"path": path}) for number, path in enumerate(job.settings.paths)],
    )
    return {}


def take(task: Attempt, path: str) -> None:
    table = pq.read_table(path)
    outputs = DocumentOutputs(task, table["source"][0].as_py(), 1)
    outputs.keep(table)
    outputs.publish()
    task.record.books = Books(len(table), text_bytes(table))
    task.record.books.items_out["kept"], task.record.books.bytes_out["kept"] = len(table), text_bytes(table)
