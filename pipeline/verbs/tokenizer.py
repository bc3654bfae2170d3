"""`tokenize`: train a tokenizer, or encode documents with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gristmill.pipeline.verbs import options
from gristmill.pipeline.verbs.invoke import Options

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe


def register(app: typer.Typer) -> None:
    tokenize = typer.Typer(help="Train a tokenizer, or encode with one.", no_args_is_help=True)
    tokenize.command("train")(train)
    tokenize.command("encode")(encode)
    app.add_typer(tokenize, name="tokenize")


@options.running
def train(
    inputs: options.Inputs,
    said: Options,
    vocab_size: Annotated[
        int | None, typer.Option(help="Pieces, rounded up to a multiple of 64.", show_default=False)
    ] = None,
) -> None:
    """Train a SentencePiece BPE tokenizer on documents, or run a recipe up to its tokenizer.

    Example: gristmill tokenize train docs --vocab-size 32000 --out tokenizer
    """
    section = {"vocab_size": vocab_size} if vocab_size else {}
    options.carry_out(_recipe("tokenizer", inputs, section, said), said, "tokenizer")


@options.running
def encode(
    inputs: options.Inputs,
    said: Options,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A .model, tokenizer.json or .tiktoken file.", show_default=False)
    ] = None,
) -> None:
    """Encode documents, each once, or run a recipe up to encoding.

    Example: gristmill tokenize encode docs --tokenizer tokenizer.json --out encoded
    """
    section = {"path": str(tokenizer)} if tokenizer else {}
    options.carry_out(_recipe("encode", inputs, section, said), said, "encode")


def _recipe(name: str, inputs: list[str], section: dict[str, Any], said: Options) -> Recipe:
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, plain_recipe

    if is_recipe(inputs):
        return load_recipe(
            Path(inputs[0]),
            (*said.overrides, *(f"tokenizer.{key}={value}" for key, value in section.items())),
        )
    return plain_recipe(name, inputs, {"tokenizer": section}, said.overrides)
