"""Run a recipe, or the trainer, from Python: what the command line does, with results in place of codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.files.location import location
from gristmill.overrides import merged, unfolded
from gristmill.pipeline.door.opened import OpenRun, open_run

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe
    from gristmill.pipeline.run.narration.progress import Progress


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path,
    *,
    until: str | None = None,
    engine: str | None = None,
    workers: int | None = None,
    address: str | None = None,
    quiet: bool = False,
    **overrides: Any,
) -> OpenRun:
    """Run a recipe, a path or plain data, in the folder or URL `out`; what is done there is reused.

    `until` names the last section that is run. `engine` is inline, ray or auto. `overrides` replace parts of
    the recipe: `mix={"tokens": 10**9}`, or by path, `**{"mix.tokens": 10**9}`. Raises RecipeError for a
    mistake in the recipe, StepFailed where tasks failed on every attempt, Interrupted on Ctrl-C: the same
    call resumes. It never exits the interpreter.
    """
    from gristmill.files.location import use_storage
    from gristmill.pipeline.report.follow import run_followed

    loaded = _load(recipe, overrides)
    folder = location(str(out))
    use_storage(folder, loaded.output.settings())
    settings = loaded.engine.with_said(kind=engine, workers=workers, address=address)
    progress = _progress(quiet)
    run_followed(loaded, until, folder, settings, progress)
    return open_run(folder)


def train(settings: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Train a model in this process by the settings of docs/trainer.md, and return its summary.

    `shards` and `run` are required: a shard folder, and a folder for log and checkpoints. Keys may be paths:
    `**{"optimizer.lr": 3e-4}`. Raises UsageError for a setting there is none of, Interrupted on Ctrl-C.
    """
    from gristmill.trainer.train import run as run_trainer

    return run_trainer(unfolded({**(settings or {}), **more}))


def _load(recipe: Any, overrides: Mapping[str, Any]) -> Recipe:
    from gristmill.pipeline.recipe.file import make_recipe, read_recipe
    from gristmill.pipeline.recipe.model import Recipe

    if isinstance(recipe, Recipe):
        recipe = recipe.model_dump(exclude_unset=True)
    if isinstance(recipe, Mapping):
        return make_recipe(merged(recipe, unfolded(overrides)))
    return read_recipe(Path(recipe), over=unfolded(overrides))


def _progress(quiet: bool) -> Progress:
    """How progress is shown here: a notebook redraws one line of the cell's output."""
    from gristmill.pipeline.door.notebook import NotebookProgress, in_notebook
    from gristmill.pipeline.run.narration.progress import Progress

    return NotebookProgress() if not quiet and in_notebook() else Progress(quiet=quiet)
