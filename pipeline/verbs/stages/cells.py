"""`classify topics`, `classify quality` and `classify cells`: what documents are about, how good they are
among their like, and the table of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.invoke import Options


@options.running
def topics(
    inputs: options.Inputs,
    said: Options,
    number: Annotated[
        int | None,
        typer.Option(
            help="Topics to learn; chosen by their stability when unset.", min=2, show_default=False
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Topics learned before (OUT of this command), or a fastText model whose labels are topics.",
            show_default=False,
        ),
    ] = None,
    remove: Annotated[
        list[str], typer.Option(help="Remove the documents of a topic. Repeatable.", show_default=False)
    ] = [],  # noqa: B006
) -> None:
    """Learn topics from documents, or use a model's, give each document one, and print them.

    Each input is a source of its own, named after its file or folder.

    Example: gristmill classify topics wiki crawl --out topics
    """
    from gristmill.pipeline.look.cells import print_topics
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, named_recipe, source_names

    section: dict[str, Any] = {}
    if number is not None:
        section["number"] = number
    if model is not None:
        section["model"] = str(_learned(model))
    if remove:
        section["remove"] = remove
    if is_recipe(inputs):
        overrides = [
            *said.overrides,
            *(f"topics.{key}={json.dumps(value)}" for key, value in section.items()),
        ]
        recipe = load_recipe(Path(inputs[0]), overrides)
    else:
        recipe = named_recipe("topics", source_names(inputs), {"topics": section}, said.overrides)
    options.carry_out(recipe, said, "topics", print_topics)


@options.running
def quality(
    inputs: options.Inputs,
    said: Options,
    model: Annotated[
        list[Path], typer.Option(help="A fastText model that ranks. Repeatable.", show_default=False)
    ] = [],  # noqa: B006
    column: Annotated[
        list[str],
        typer.Option(
            help="A numeric column that ranks, higher being better; `-NAME` where lower is. Repeatable.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    buckets: Annotated[int, typer.Option(help="Quantiles.", min=2, max=1000)] = 20,
    within: Annotated[
        str, typer.Option(help="What documents are ranked among: source, topic or language.")
    ] = "source",
    keep_from: Annotated[int, typer.Option(help="Remove documents below this bucket.", min=0)] = 0,
) -> None:
    """Put documents into quality buckets by one score or several (the highest bucket counts), and print topic
    by quality.

    Each input is a source of its own, named after its file or folder.

    Example: gristmill classify quality topics --model edu.bin --model dclm.bin --within topic --out ranked
    """
    from gristmill.pipeline.look.cells import print_cells
    from gristmill.pipeline.verbs.invoke import (
        is_recipe,
        load_recipe,
        model_folder,
        named_recipe,
        source_names,
    )

    if is_recipe(inputs):
        recipe = load_recipe(Path(inputs[0]), said.overrides)
        options.carry_out(recipe, said, "quality", print_cells)
    if not model and not column:
        raise UsageError("nothing ranks the documents", hint="give --model FILE or --column NAME")
    columns = {name.removeprefix("-"): "lower" if name.startswith("-") else "higher" for name in column}
    models = {path.stem: {"path": str(model_folder(path, "classify-train"))} for path in model}
    section = {
        "columns": columns,
        "models": models,
        "buckets": buckets,
        "within": within,
        "keep_from": keep_from,
    }
    recipe = named_recipe("quality", source_names(inputs), {"quality": section}, said.overrides)
    options.carry_out(recipe, said, "quality", print_cells)


def cells(out: options.Out, as_json: options.Json = False) -> None:
    """Print topic by quality of a run: documents, text or tokens of each cell, and how often a mixture takes
    it.

    Example: gristmill classify cells out/web
    """
    from gristmill.pipeline.look.cells import cell_rows, print_cells
    from gristmill.pipeline.run.folder import finished_steps

    if as_json:
        print(json.dumps({"cells": cell_rows(finished_steps(out))}))
    else:
        print_cells(out)


def _learned(place: Path) -> Path:
    """The topics of a run by its output folder, or a path as it is."""
    from gristmill.pipeline.run.folder import RUN_FILE, finished_steps

    if not (place / RUN_FILE).exists():
        return place
    steps = finished_steps(place)
    if "topics-train" not in steps:
        raise UsageError(f"the run in `{place}` learned no topics", hint="name a fastText model's file")
    return steps["topics-train"].folder / "topics"
