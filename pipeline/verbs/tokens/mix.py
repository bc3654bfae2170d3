"""`mix`: say what a mixture takes of each source, or write its shards."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

GROUP = listing.TOKENS


def register(app: typer.Typer) -> None:
    app.command("mix")(mix)


@options.running
def mix(
    recipe: options.Recipe,
    said: Options,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what the mixture takes of each source; write nothing.")
    ] = False,
) -> None:
    """Run a recipe up to its shards, or with --plan print its table: source, proportion, epochs, tokens,
    bytes.

    Sizes are exact where sources are encoded; of one that has no documents yet a sample is milled first.

    Example: gristmill mix recipe.yaml --plan --set mix.tokens=1400000000
    """
    from gristmill.pipeline.verbs.invoke import engine_settings, load_recipe, output_folder
    from gristmill.tokenize.settings import MixSettings

    loaded = load_recipe(recipe, said.overrides)
    if loaded.section(MixSettings) is None:
        raise UsageError(f"`{recipe}` has no `mix` section")
    if plan:
        from gristmill.pipeline.estimate.mixture import estimated_sizes
        from gristmill.pipeline.look.forecast import print_plan
        from gristmill.pipeline.run.narration.progress import Progress

        engine = engine_settings(loaded, said)
        progress = Progress(quiet=said.quiet or said.json)
        out = output_folder(loaded, said.out)
        print_plan(loaded, out, lambda: estimated_sizes(loaded, engine, progress), as_json=said.json)
        return
    options.carry_out(loaded, said, "mix")
