"""`extract`: from crawls and files to documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

GROUP = listing.STAGES


def register(app: typer.Typer) -> None:
    app.command("extract")(extract)


@options.running
def extract(
    inputs: options.Inputs,
    said: Options,
    extractor: Annotated[
        str | None, typer.Option(help="auto, blocks, trafilatura or resiliparse.", show_default=False)
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="How to read inputs whose names do not say it.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Read this many records at most.", min=1, show_default=False)
    ] = None,
) -> None:
    """Read WARC, WET, ARC, JSON lines, Parquet or plain text into documents.

    Example: gristmill extract crawl/*.warc.gz --out docs
    """
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, plain_recipe

    if is_recipe(inputs):
        options.refuse_beside_recipe(extractor=extractor, format=format, limit=limit)
        recipe = load_recipe(Path(inputs[0]), said.overrides)
    else:
        source = {"format": format, "limit": limit}
        sections = {"extract": {"extractor": extractor}} if extractor else {}
        known = {name: value for name, value in source.items() if value is not None}
        recipe = plain_recipe("extract", inputs, sections, said.overrides, **known)
    options.carry_out(recipe, said, "extract")
