"""`submit`: hand a recipe to a running Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.files.location import location
from gristmill.pipeline.verbs import listing, options

GROUP = listing.RECIPES


def register(app: typer.Typer) -> None:
    app.command("submit")(submit)


def submit(
    recipe: options.Recipe,
    address: Annotated[
        str, typer.Option(help="The cluster's job server, such as http://127.0.0.1:8265.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=location,
            metavar="PATH",
            help="An absolute path or URL that every node sees.",
            show_default=False,
        ),
    ],
    set_: options.Overrides = [],  # noqa: B006
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job's output until it ends.")
    ] = True,
) -> None:
    """Run a recipe on a Ray cluster by `ray job submit`; a second submission of the same recipe resumes.

    Code, lists, models and layouts that the recipe names by relative paths go along; inputs do not, and every
    node must see them, as `--out`. What goes and what does not is said first.

    Example: gristmill submit recipe.yaml --address http://127.0.0.1:8265 --out /data/out/web
    """
    from gristmill.pipeline.run.cluster.submit import submit_job
    from gristmill.pipeline.verbs.invoke import load_recipe

    load_recipe(recipe, set_)  # a mistake is better shown here than in a job's log
    if not out.is_absolute() and "://" not in str(out):
        raise UsageError(
            f"`--out` must be absolute in a job, got `{out}`",
            hint="a job's working folder is a copy that is thrown away",
        )
    raise typer.Exit(submit_job(recipe, address, str(out), set_, wait=wait))
