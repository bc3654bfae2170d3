"""`extractor`: train a model for the block extractor, and see what the shipped one says of itself."""

from __future__ import annotations

import json as json_module
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing, options

extractor = typer.Typer(
    no_args_is_help=True, help="Train the block extractor and read its model card.", rich_markup_mode=None
)

GROUP = listing.MEASURE


def register(app: typer.Typer) -> None:
    app.add_typer(extractor, name="extractor")


@extractor.command("train")
def train_(
    archives: Annotated[list[Path], typer.Argument(help="Web archives with the pages.", show_default=False)],
    gold: Annotated[
        list[Path],
        typer.Option(help="JSON lines of gold, beside its archives. Repeatable.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for model.npz and card.json.", show_default=False)],
    compare: Annotated[
        bool, typer.Option(help="Extract the pages with trafilatura too, for the card and `auto`.")
    ] = True,
    silver: Annotated[
        str,
        typer.Option(
            metavar="off|judge|learn",
            help=(
                "In languages with little gold, look for pages on which two extractors agree: to judge by, to"
                " learn from too."
            ),
        ),
    ] = "judge",
    licences: Annotated[str, typer.Option(help="What the card says of the data's licences.")] = "",
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Fit a model to pages with gold, judge it on domains it has not seen, and write it with its card.

    Example: gristmill extractor train pages/*.warc.gz --gold pages/gold.jsonl.gz --out model
    """
    missing = [path for path in [*archives, *gold] if not path.is_file()]
    if missing:
        raise UsageError(
            f"no such file: {missing[0]}", hint="give archives and gold as files; a shell expands patterns"
        )
    from gristmill.pipeline.extract.blocks.training.train import Silver, train

    if silver not in get_args(Silver):
        raise UsageError(f"--silver is {silver!r}", hint=f"one of {', '.join(get_args(Silver))}")

    about = {
        "command": shlex.join(["gristmill", *sys.argv[1:]]),
        "data": ", ".join(path.name for path in archives),
        "date": datetime.now(UTC).date().isoformat(),
        "licences": licences,
    }
    card = train(
        archives,
        gold,
        out,
        compare,
        cast(Silver, silver),
        about,
        lambda line: None if quiet else print(line, file=sys.stderr),
    )
    typer.echo(
        json_module.dumps(card, ensure_ascii=False) if json else f"{out / 'model.npz'}\n{out / 'card.json'}"
    )


@extractor.command("card")
def card_(
    model: Annotated[
        Path | None, typer.Argument(help="Folder of a model; the shipped one when unset.", show_default=False)
    ] = None,
    json: options.Json = False,
) -> None:
    """Show what a model was trained on and how good it was found to be.

    Example: gristmill extractor card
    """
    from gristmill.pipeline.extract.blocks.classifier import SHIPPED, load_card
    from gristmill.pipeline.extract.blocks.training.summary import table, unseen_table

    card = load_card(model or SHIPPED)
    if json:
        typer.echo(json_module.dumps(card, ensure_ascii=False))
        return
    for name, value in card["about"].items():
        typer.echo(f"{name}: {value}")
    typer.echo(table(card["cross_validation"]))
    typer.echo(unseen_table(card))
