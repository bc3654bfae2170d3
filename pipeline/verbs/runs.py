"""`run`, `plan`, `status`: a recipe as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.verbs import listing, options

GROUP = listing.RECIPES


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("plan")(plan)
    app.command("status", rich_help_panel=listing.LOOK)(status)
    app.command("schema", rich_help_panel=listing.START)(schema)


def run(
    recipe: options.Recipe,
    out: options.OutOption = None,
    set_: options.Overrides = [],  # noqa: B006  # typer reads it, nobody writes it
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    address: options.Address = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
    dry_run: options.DryRun = False,
) -> None:
    """Run a recipe: what is done is reused, what is not is run.

    Example: gristmill run recipe.yaml --out out/web --workers 8
    """
    from gristmill.pipeline.verbs.invoke import Options, load_recipe

    options.carry_out(
        load_recipe(recipe, set_), Options(out, engine, workers, address, quiet, json, (), dry_run)
    )


def plan(
    recipe: options.Recipe,
    out: options.OutOption = None,
    set_: options.Overrides = [],  # noqa: B006
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Mill a sample and predict time, memory, disk and keep rates.")
    ] = False,
    price: Annotated[float, typer.Option(help="Price of a core for an hour, for the estimate.", min=0)] = 0.0,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="With --estimate: simulate NODESxCPUS, such as 64x32.", metavar="NxM", show_default=False
        ),
    ] = None,
    shards: Annotated[
        int | None, typer.Option(help="Shards to simulate, such as the 90,000 files of a snapshot.", min=1)
    ] = None,
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    json: options.Json = False,
) -> None:
    """Say what the recipe needs, and for every step whether it is done, stale (and because of what) or to
    run; nothing is written.

    Example: gristmill plan recipe.yaml --estimate --price 0.04
    """
    from gristmill.pipeline.verbs.invoke import Options, load_recipe

    loaded = load_recipe(recipe, set_)
    if estimate or cluster:
        from gristmill.pipeline.estimate.preflight import preflight

        preflight(loaded, Options(out, engine, workers, None, False, json), price, cluster, shards)
        return
    options.show_plan(loaded, Options(out, json=json))


def status(
    out: options.Out,
    json: options.Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds until the run is complete.")
    ] = False,
) -> None:
    """Show how far a run has come: steps, shards done, documents kept, seconds.

    Example: gristmill status out/web
    """
    import time

    from gristmill.pipeline.look.tables import print_status

    while not print_status(out, as_json=json) and watch:
        time.sleep(2)


def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The same as a page of documentation.")
    ] = False,
) -> None:
    """Print the JSON Schema of recipes, with which an editor completes and checks them.

    Example: gristmill schema | head -20
    """
    import json

    from gristmill.pipeline.recipe import reference

    print(reference.markdown() if markdown else json.dumps(reference.schema(), indent=1), end="")
