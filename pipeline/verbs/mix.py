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

    Example: gristmill mix recipe.yaml --plan --set mix.tokens=1400000000
    """
    from gristmill.pipeline.verbs.invoke import load_recipe, output_folder
    from gristmill.tokenize.settings import MixSettings

    loaded = load_recipe(recipe, said.overrides)
    if loaded.section(MixSettings) is None:
        raise UsageError(f"`{recipe}` has no `mix` section")
    if plan:
        from gristmill.pipeline.look.forecast import print_plan

        print_plan(loaded, output_folder(loaded, said.out), as_json=said.json)
        return
    options.carry_out(loaded, said, "mix")
