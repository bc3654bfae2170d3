"""`demo`: the embedded quickstart, from pages to a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.pipeline.verbs import listing, options

GROUP = listing.START


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Where inputs, recipe and results go.")] = Path("demo"),
    set_: options.Overrides = [],  # noqa: B006  # typer reads it, nobody writes it
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Mill the documentation on this machine and train a small model on it: every stage, no network, a few
    minutes.

    Example: gristmill demo --out demo
    """
    from gristmill.pipeline.demo.quickstart import run_demo
    from gristmill.pipeline.verbs.invoke import Options

    raise typer.Exit(run_demo(out, set_, Options(None, engine, workers, None, quiet, json)))
