"""`tokenize`: train a tokenizer, or encode documents with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gristmill.pipeline.verbs import listing, options
from gristmill.pipeline.verbs.invoke import Options

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.model import Recipe

GROUP = listing.TOKENS


def register(app: typer.Typer) -> None:
    tokenize = typer.Typer(help="Train a tokenizer, or encode with one.", no_args_is_help=True)
    tokenize.command("train")(train)
    tokenize.command("encode")(encode)
    tokenize.command("compare")(compare)
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


def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="A tokenizer file.", show_default=False)],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another.", show_default=False)],
    documents: Annotated[
        list[Path],
        typer.Argument(metavar="DOCS", help="Runs, Parquet or JSONL files with `text`.", show_default=False),
    ],
    megabytes: Annotated[float, typer.Option(help="Text read of each source.")] = 4.0,
    json: options.Json = False,
) -> None:
    """Lay two tokenizers side by side: bytes per token by source, tokens per word by language, unused pieces.

    Example: gristmill tokenize compare tokenizer.model tokenizer.json docs
    """
    import orjson

    from gristmill.errors import InputError
    from gristmill.pipeline.look.plain_texts import texts_of
    from gristmill.pipeline.look.printing.tables import print_table
    from gristmill.tokenize.encoding.tokenizers import open_tokenizer
    from gristmill.tokenize.training.side_by_side import side_by_side

    sources = texts_of(documents, int(megabytes * 1e6))
    if not sources:
        raise InputError("there is no text to compare on", where=", ".join(map(str, documents)))
    a, b = side_by_side([open_tokenizer(one), open_tokenizer(other)], sources)
    if json:
        print(orjson.dumps({"a": {"file": str(one), **a}, "b": {"file": str(other), **b}}).decode())
        return
    labels = (("vocabulary", "vocab"), ("unused", "unused"))
    rows = [[label, f"{a[key]:,}", f"{b[key]:,}"] for label, key in labels]
    rows += [
        [f"bytes per token, {name}", *(f"{side['sources'][name]['bytes_per_token']:.3f}" for side in (a, b))]
        for name in sources
    ]
    rows += [
        [f"tokens per word, {name}", *(f"{side['fertility'].get(name, 0):.3f}" for side in (a, b))]
        for name in sorted({*a["fertility"], *b["fertility"]})
    ]
    checked = [f"{side['losses'].get('lossy', 0):,} of {side['losses']['checked']:,}" for side in (a, b)]
    rows.append(["do not come back", *checked])
    rows += [
        ["longest" if number == 0 else "", f"{x[:24]!r} {len(x)}", f"{y[:24]!r} {len(y)}"]
        for number, (x, y) in enumerate(zip(a["longest"][:5], b["longest"][:5], strict=False))
    ]
    print_table(["", one.name, other.name], rows, right=(1, 2))


def _recipe(name: str, inputs: list[str], section: dict[str, Any], said: Options) -> Recipe:
    from gristmill.pipeline.verbs.invoke import is_recipe, load_recipe, plain_recipe

    if is_recipe(inputs):
        return load_recipe(
            Path(inputs[0]),
            (*said.overrides, *(f"tokenizer.{key}={value}" for key, value in section.items())),
        )
    return plain_recipe(name, inputs, {"tokenizer": section}, said.overrides)
