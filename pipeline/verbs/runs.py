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
    verbose: options.Verbose = False,
    log_level: options.LogLevel = "info",
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Tell in records and report where the CPU time of each step goes."),
    ] = False,
) -> None:
    """Run a recipe: what is done is reused, what is not is run.

    On a terminal a table of all steps shows how far each is. With --json what happens is narrated on stderr
    as a JSON object a line, and the result stands on stdout.

    Example: gristmill run recipe.yaml --out out/web --workers 8
    """
    from gristmill.pipeline.verbs.invoke import Options, load_recipe

    said = Options(out, engine, workers, address, quiet, json, (), dry_run, verbose, log_level, profile)
    options.carry_out(load_recipe(recipe, set_), said)


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
    address: options.Address = None,
    json: options.Json = False,
) -> None:
    """Say what the recipe needs, and for every step whether it is done, stale (and because of what) or to
    run; nothing is written. With --estimate and --address the sample is milled on that cluster, and the
    estimate is for its CPUs.

    Example: gristmill plan recipe.yaml --estimate --price 0.04
    """
    from gristmill.pipeline.verbs.invoke import Options, load_recipe

    loaded = load_recipe(recipe, set_)
    if estimate or cluster:
        from gristmill.pipeline.estimate.preflight import preflight

        preflight(loaded, Options(out, engine, workers, address, False, json), price, cluster, shards)
        return
    options.show_plan(loaded, Options(out, json=json))


def status(
    out: options.Out,
    json: options.Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again every two seconds while the run is at work.")
    ] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print the figures as Prometheus reads them.")
    ] = False,
    serve: Annotated[
        int | None,
        typer.Option(
            "--serve", metavar="PORT", help="Serve them at /metrics on this port; 0 takes a free one.",
            min=0, max=65535, show_default=False,
        ),
    ] = None,
) -> None:  # fmt: skip
    """Show how far a run has come: steps, shards done, records in those at work, documents kept, time to go,
    a training's step, loss and speed.

    Example: gristmill status out/web --watch
    """
    if prometheus or serve is not None:
        from gristmill.pipeline.look.metrics import metrics, serve_metrics

        if serve is None:
            print(metrics(out), end="")
        else:
            serve_metrics(out, serve)
        return
    from gristmill.pipeline.look.printing.tables import print_status, watch_status

    if watch:
        raise typer.Exit(0 if watch_status(out, as_json=json) else 1)
    print_status(out, as_json=json)


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
