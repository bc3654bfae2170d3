"""`mixture-search`: the proportions of sources that train the best model on some targets."""

from __future__ import annotations

from typing import Annotated

import typer

from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.listing import MEASURE
from gristmill.pipeline.verbs.proof import measured

GROUP = MEASURE


def register(app: typer.Typer) -> None:
    app.command("mixture-search")(mixture_search)


@measured.comparing
def mixture_search(
    recipe: options.Recipe,
    runs: Annotated[
        int | None, typer.Option(help="Of the swarm; 5 a source when unset.", min=4, show_default=False)
    ] = None,
    spread: Annotated[float, typer.Option(help="Of the draws: small is wide.", min=0.1)] = 4.0,
    seeds: Annotated[int, typer.Option(help="Models of the run that confirms.", min=1)] = 3,
    tokens: measured.Tokens = None,
    train: measured.Train = True,
    write: Annotated[bool, typer.Option("--write", help="Put the proportions into the recipe.")] = False,
    *,
    said: measured.Said,
) -> None:
    """Train a swarm over source weights, fit it, and print the best mixture with its confirmed gain.

    Example: gristmill mixture-search recipe.yaml --target wiki=wiki.jsonl --tokens 2M
    """
    import json as json_module

    from gristmill.files.storage import write_atomic
    from gristmill.pipeline.proof.mixture import as_json, proportions_of, search
    from gristmill.pipeline.proof.mixture_told import tell_search, written_back
    from gristmill.pipeline.proof.variants import read_variants

    (variant,) = read_variants(recipe, said.run.overrides)
    asked = said.asked(seeds=seeds, tokens=measured.tokens_of(tokens), train=train)
    folder, settings = said.folder(variant.recipe, "mixture"), said.engine(variant.recipe)
    with measured.resumable():
        found = search(variant.recipe, asked, runs, spread, folder, settings, said.run.progress())
    write_atomic(folder / "mixture.json", json_module.dumps(as_json(found), indent=1).encode() + b"\n")
    shares = proportions_of(found)
    if write:
        write_atomic(recipe, written_back(recipe, shares))
    if said.run.json:
        print(json_module.dumps(as_json(found)))
        return
    for line in tell_search(found, shares):
        print(line)
