"""A stage that writes made documents, so that deduplication can be run as steps of a plan by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.document import removed_schema, text_bytes
from gristmill.facts import StepFacts
from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.run.stage import KeepRemoved, Slice, StageKind


class MadeSlice(Slice):
    """The files of documents, and the settings of the steps that follow."""

    paths: tuple[str, ...] = ()
    exact: ExactSettings = ExactSettings()
    fuzzy: FuzzySettings = FuzzySettings()
    pieces: Any = None
    keep_removed: KeepRemoved = "text"


MADE = StageKind("made", MadeSlice, "tests.support.made_stage:made", version=1, books="texts", entry=True)


def made(job: Job[MadeSlice]) -> Stage:
    yield over_paths("made", take, [Path(path) for path in job.settings.paths])
    return StepFacts()


def take(task: Attempt[MadeSlice], path: str) -> None:
    table = pq.read_table(path)
    outcomes = Outcomes(task, table["source"][0].as_py())
    nothing = removed_schema(outcomes.schema).empty_table()
    outcomes.take((table.num_rows, text_bytes(table)), table, nothing)
    outcomes.publish()
