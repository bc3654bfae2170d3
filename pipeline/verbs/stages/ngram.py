"""`ngram`: count an n-gram language model, score with one, or count what importance weights need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

GROUP = listing.STAGES


def register(app: typer.Typer) -> None:
    ngram = typer.Typer(
        help="Count an n-gram language model, score with one, or count what importance weights need.",
        no_args_is_help=True,
    )
    ngram.command("train")(train)
    ngram.command("score")(score)
    ngram.command("distribution")(distribution)
    app.add_typer(ngram, name="ngram")


@options.running
def train(
    inputs: options.Inputs,
    said: Options,
    order: Annotated[
        int | None, typer.Option(help="The longest n-gram; 5 when unset.", min=1, max=8, show_default=False)
    ] = None,
    kneser_ney: Annotated[
        bool, typer.Option("--kneser-ney", help="Estimate by Kneser and Ney instead of Stupid Backoff.")
    ] = False,
) -> None:
    """Count words' n-grams, or run a recipe up to its `ngram` section; held-out documents are scored, not
    counted.

    Each input is a source of its own, named after its file or folder.

    Example: gristmill ngram train wiki books --out lm
    """
    from gristmill.pipeline.look.printing.measures import print_heldout
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, named_recipe, source_names

    if is_recipe(inputs):
        options.carry_out(load_recipe(Path(inputs[0]), said.overrides), said, "ngram-heldout", print_heldout)
    sources = source_names(inputs)
    model: dict[str, Any] = {"order": order} if order else {}
    if kneser_ney:
        model["smoothing"] = "kneser_ney"
    section = {"train_on": list(sources), "model": model}
    options.carry_out(
        named_recipe("ngram", sources, {"ngram": section}, said.overrides),
        said,
        "ngram-heldout",
        print_heldout,
    )


@options.running
def score(
    model: Annotated[
        Path,
        typer.Argument(
            help="The output of `ngram train`, a folder with ngrams.json, or a KenLM model's file.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[str], typer.Argument(help="Files, globs or folders written by gristmill.", show_default=False)
    ],
    said: Options,
    keep: Annotated[
        str, typer.Option(help="Buckets that stay: head, middle, tail, and all for unseen languages.")
    ] = "head,middle,tail,all",
) -> None:
    """Give documents a perplexity and CCNet's bucket, and keep some buckets.

    Example: gristmill ngram score lm crawl.parquet --keep head,middle --out fluent
    """
    from gristmill.pipeline.verbs.invoke import model_folder, plain_recipe

    section = {
        "path": str(model_folder(model, "ngram-train")),
        "apply_to": ["input"],
        "buckets": {"keep": keep.split(",")},
    }
    options.carry_out(plain_recipe("perplexity", inputs, {"ngram": section}, said.overrides), said, "ngram")


@options.running
def distribution(
    inputs: options.Inputs,
    said: Options,
    to: Annotated[
        Path | None,
        typer.Option(help="Copy each distribution to a folder of its name in this one.", show_default=False),
    ] = None,
) -> None:
    """Count words and pairs of words of books, Wikipedia or a crawl, for RedPajama-V2's importance weights.

    Each input is a source of its own, named after its file or folder. The preset `redpajama-v2` measures
    weights where `redpajama-v2.source` and `.books`, `.openwebtext` or `.wikipedia` name the folders printed.

    Example: gristmill ngram distribution books crawl --out counted --to dsir
    """
    from gristmill.pipeline.look.printing.measures import hand_over_distributions, print_distributions
    from gristmill.pipeline.look.printing.tables import print_run
    from gristmill.pipeline.verbs.invoke import (
        exit_code,
        is_recipe,
        load_recipe,
        named_recipe,
        output_folder,
        run_recipe,
        source_names,
    )

    if is_recipe(inputs):
        recipe = load_recipe(Path(inputs[0]), said.overrides)
    else:
        sources = source_names(inputs)
        section = {"train_on": list(sources)}
        recipe = named_recipe("distribution", sources, {"importance": section}, said.overrides)
    if said.dry_run:
        options.show_plan(recipe, said, "importance")
        raise typer.Exit
    result = run_recipe(recipe, said, until="importance")
    out = output_folder(recipe, said.out)
    print_run(out, as_json=said.json)
    if to:
        hand_over_distributions(out, to)
    if not said.json:
        print_distributions(out, to)
    raise typer.Exit(exit_code(recipe, result, out))
