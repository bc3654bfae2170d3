"""`coverage`: which domains, years and languages documents are of, and selection by domain and age."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

GROUP = listing.STAGES


def register(app: typer.Typer) -> None:
    app.command("coverage")(coverage)


@options.running
def coverage(
    inputs: options.Inputs,
    said: Options,
    max_per_domain: Annotated[
        int | None, typer.Option(help="Keep so many documents of a host.", min=1, show_default=False)
    ] = None,
    oldest: Annotated[
        str | None, typer.Option(help="Keep documents from this day on: 2019-01-31.", show_default=False)
    ] = None,
    newest: Annotated[
        str | None, typer.Option(help="Keep documents up to this day.", show_default=False)
    ] = None,
    rows: Annotated[int, typer.Option(help="Domains shown.", min=1, max=1000)] = 20,
) -> None:
    """Print the largest domains with their documents and share, and select by domain and age where asked to.

    Example: gristmill coverage docs --max-per-domain 1000 --oldest 2019-01-01 --out even
    """
    from gristmill.pipeline.look.printing.measures import coverage_rows, print_coverage
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, plain_recipe

    given = {"max_per_domain": max_per_domain, "oldest": oldest, "newest": newest}
    section: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if is_recipe(inputs):
        overrides = [*said.overrides, *(f"coverage.{name}={value}" for name, value in section.items())]
        recipe = load_recipe(Path(inputs[0]), overrides or ["coverage={}"])
    else:
        recipe = plain_recipe("coverage", inputs, {"coverage": section}, said.overrides)
    options.carry_out(recipe, said, "coverage", lambda out: print_coverage(coverage_rows(out), rows))
