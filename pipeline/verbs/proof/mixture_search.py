"""`mixture-search`: the proportions of sources that train the best model on some targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.listing import MEASURE
from gristmill.pipeline.verbs.proof import measured

GROUP = MEASURE


def register(app: typer.Typer) -> None:
    app.command("mixture-search")(mixture_search)


def mixture_search(
    recipe: options.Recipe,
    target: measured.Targets = [],  # noqa: B006
    runs: Annotated[
        int | None, typer.Option(help="Of the swarm; 5 a source when unset.", min=4, show_default=False)
    ] = None,
    spread: Annotated[float, typer.Option(help="Of the draws: small is wide.", min=0.1)] = 4.0,
    seeds: Annotated[int, typer.Option(help="Models of the run that confirms.", min=1)] = 3,
    tokens: measured.Tokens = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train models, or n-grams alone.")] = True,
    documents: measured.Documents = 400,
    document_bytes: measured.DocumentBytes = 4000,
    write: Annotated[bool, typer.Option("--write", help="Put the proportions into the recipe.")] = False,
    out: options.OutOption = None,
    set_: options.Overrides = [],  # noqa: B006
    engine: options.EngineKind = None,
    workers: options.Workers = None,
    address: options.Address = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a swarm over source weights, fit it, and print the best mixture with its confirmed gain.

    Example: gristmill mixture-search recipe.yaml --target wiki=wiki.jsonl --tokens 2M
    """
    import json as json_module

    from gristmill.pipeline.proof.ablation import Asked
    from gristmill.pipeline.proof.mixture import as_json, proportions_of, search
    from gristmill.pipeline.proof.mixture_told import tell_search, written_back
    from gristmill.pipeline.proof.texts import Amount
    from gristmill.pipeline.proof.variants import read_variants
    from gristmill.pipeline.run.narration.progress import Progress
    from gristmill.pipeline.verbs.invoke import Options, engine_settings
    from gristmill.storage import write_atomic

    (variant,) = read_variants(recipe, set_)
    asked = Asked(
        measured.named_targets(target), seeds, int(measured.number("--tokens", tokens)) if tokens else None,
        train=train, amount=Amount(documents, document_bytes),
    )  # fmt: skip
    folder = out or Path("out") / f"{variant.recipe.name}-mixture"
    settings = engine_settings(variant.recipe, Options(out, engine, workers, address, quiet, json))
    with measured.resumable():
        found = search(variant.recipe, asked, runs, spread, folder, settings, Progress(quiet=quiet))
    write_atomic(folder / "mixture.json", json_module.dumps(as_json(found), indent=1).encode() + b"\n")
    shares = proportions_of(found)
    if write:
        write_atomic(recipe, written_back(recipe, shares))
    if json:
        print(json_module.dumps(as_json(found)))
        return
    for line in tell_search(found, shares):
        print(line)
