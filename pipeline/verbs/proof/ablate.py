"""`ablate`: which variant of a recipe trains the better model, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.listing import MEASURE
from gristmill.pipeline.verbs.proof import measured

GROUP = MEASURE


def register(app: typer.Typer) -> None:
    app.command("ablate")(ablate)


@measured.comparing
def ablate(
    recipe: options.Recipe,
    vary: Annotated[
        list[str], typer.Option(metavar="CHANGES", help="A variant: [NAME:] key=value[; ...]. Repeatable.")
    ] = [],  # noqa: B006
    without: Annotated[
        list[str],
        typer.Option(metavar="KEY", help="A variant without a section or a list's entry. Repeatable."),
    ] = [],  # noqa: B006
    grid: Annotated[
        list[str], typer.Option(metavar="KEY=[..]", help="A variant for each value; several multiply.")
    ] = [],  # noqa: B006
    with_: Annotated[
        list[Path], typer.Option("--with", metavar="FILE", help="Another recipe as a variant. Repeatable.")
    ] = [],  # noqa: B006
    placebo: Annotated[
        bool, typer.Option("--placebo", help="Add the recipe again with other seeds: what noise looks like.")
    ] = False,
    seeds: Annotated[int, typer.Option(help="Models a variant, or draws of a proxy.", min=1)] = 3,
    tokens: measured.Tokens = None,
    train: measured.Train = True,
    proxies: Annotated[
        bool, typer.Option("--proxies/--no-proxies", help="Score n-grams, compression, a classifier.")
    ] = True,
    cost: Annotated[bool, typer.Option("--cost", help="Say what it will cost, and stop.")] = False,
    *,
    said: measured.Said,
) -> None:
    """Prepare, train and score variants of a recipe; rank them with intervals and the noise of seeds.

    Example: gristmill ablate recipe.yaml --without dedup.fuzzy --target wiki=wiki.jsonl
    """
    import json as json_module

    from gristmill.files.storage import write_atomic
    from gristmill.pipeline.proof.ablation import measure
    from gristmill.pipeline.proof.ablation_page import write_page
    from gristmill.pipeline.proof.costs import costs
    from gristmill.pipeline.proof.told import tell_verdict
    from gristmill.pipeline.proof.variants import read_variants
    from gristmill.pipeline.proof.verdict import as_json, decide

    if not (train or proxies):
        raise UsageError("`--no-train` and `--no-proxies` leave nothing to measure")
    variants = read_variants(
        recipe, said.run.overrides, vary=vary, without=without, grid=grid, files=with_, placebo=placebo
    )
    reference = variants[0].recipe
    asked = said.asked(seeds=seeds, tokens=measured.tokens_of(tokens), proxies=proxies, train=train)
    folder, progress = said.folder(reference, "ablation"), said.run.progress()
    for line in costs(variants, asked, folder, said.run.workers):
        (print if cost else progress.note)(line)
    if cost:
        return
    with measured.resumable():
        outcome = measure(variants, asked, folder, said.engine(reference), progress)
    verdict = decide(outcome)
    if not verdict.tables:
        raise UsageError(
            "there is nothing to score on: no target, and no document that all variants hold out",
            hint="name one with `--target NAME=PATH`, or raise mix.heldout_fraction",
        )
    facts = as_json(verdict, outcome)
    write_atomic(folder / "ablation.json", json_module.dumps(facts, indent=1).encode() + b"\n")
    page = write_page(folder / "ablation.html", verdict, outcome)
    if said.run.json:
        print(json_module.dumps(facts))
        return
    for line in tell_verdict(verdict, outcome):
        print(line)
    progress.note(f"the page: {page}")
