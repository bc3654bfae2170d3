"""Documents in memory as the entry of a run: steps of a recipe over a table, inline, in a given folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.document import FIELDS, removed_schema, text_bytes
from gristmill.facts import StepFacts
from gristmill.files.storage import ParquetWriter, read_tables
from gristmill.manifest import Manifest
from gristmill.pipeline.recipe.making import Making
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.run.runner import Plan, run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import Slice, StageKind
from gristmill.pipeline.stages.dedup import plan

SOURCE = "given"


class GivenSlice(Slice):
    """The file that holds the documents."""

    path: str


GIVEN = StageKind(
    SOURCE, GivenSlice, "gristmill.pipeline.door.given:take_in", version=1, books="texts", entry=True
)


def run_over(documents: pa.Table, recipe: Recipe, folder: Path) -> dict[str, Manifest]:
    """Run the deduplication of a recipe over documents of one source; return the manifests of its steps."""
    with ParquetWriter(folder / "given.parquet", documents.schema) as writer:
        writer.write(documents)
    making = Making(recipe, {})
    making.last[SOURCE] = making.add(SOURCE, GIVEN, GivenSlice(path=str(writer.path)))
    plan(making, getattr(recipe, "dedup"))  # noqa: B009  # a field of the recipe with all sections
    made = Plan(recipe.name, recipe.seed, making.steps, {}, 0)
    return run_plan(made, folder / "out", EngineSettings(kind="inline"), Progress(quiet=True)).manifests


def take_in(job: Job[GivenSlice]) -> Stage:
    yield over_paths(SOURCE, write_file, [Path(job.settings.path)])
    return StepFacts()


def write_file(task: Attempt[Any], path: str) -> None:
    outcomes: Outcomes | None = None
    for table in read_tables(Path(path)):
        outcomes = outcomes or Outcomes(task, SOURCE, list(table.schema)[len(FIELDS) :])
        nothing = removed_schema(outcomes.schema).empty_table()
        outcomes.take((table.num_rows, text_bytes(table)), table, nothing)
    (outcomes or Outcomes(task, SOURCE)).publish()
