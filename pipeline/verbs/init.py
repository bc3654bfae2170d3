"""`init`: three questions, and a recipe to start from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from gristmill.errors import UsageError
from gristmill.pipeline.verbs import listing

GROUP = listing.START
KINDS = ("web", "text")
ENDS = ("documents", "shards", "model")


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    recipe: Annotated[Path, typer.Argument(help="The recipe to write.")] = Path("recipe.yaml"),
    inputs: Annotated[
        str,
        typer.Option(
            prompt="Where is the text? (files, a glob, a folder or a URL)",
            help="Files, a glob, a folder or a URL.",
            show_default=False,
        ),
    ] = "crawl/*.warc.gz",
    kind: Annotated[
        str,
        typer.Option(
            prompt="What is it? web: crawled pages, to be filtered; text: curated, taken as it is",
            help="web: crawled, filtered by published rules; text: curated.",
            show_default=False,
        ),
    ] = "web",
    until: Annotated[
        str,
        typer.Option(
            prompt="What do you want? documents, shards (tokens to train on) or model",
            help="documents, shards or model.",
            show_default=False,
        ),
    ] = "documents",
) -> None:
    """Ask three questions and write a recipe that answers them, each key with what it does.

    Options answer without being asked.

    Example: gristmill init recipe.yaml --inputs "crawl/*.warc.gz" --kind web --until model
    """
    from gristmill.files.storage import write_atomic
    from gristmill.pipeline.run.called import program
    from gristmill.pipeline.verbs.invoke import load_recipe

    if recipe.exists():
        raise UsageError(f"`{recipe}` exists", hint="name another file: gristmill init other.yaml")
    if kind not in KINDS:
        raise UsageError(f"`--kind` is {kind!r}", hint=f"one of {', '.join(KINDS)}")
    if until not in ENDS:
        raise UsageError(f"`--until` is {until!r}", hint=f"one of {', '.join(ENDS)}")
    write_atomic(recipe, recipe_text(recipe.stem, inputs, kind, until).encode())
    load_recipe(recipe)
    shown = shlex.quote(str(recipe))
    print(f"{recipe} is written; what it will do, and what that takes:")
    print(f"  {program()} plan {shown} --estimate")
    print("and then:")
    print(f"  {program()} run {shown} --out {shlex.quote(f'out/{recipe.stem}')}")


def recipe_text(stem: str, inputs: str, kind: str, until: str) -> str:
    """Return the YAML of a recipe for one source, with a comment at each key."""
    import json

    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "recipe"
    lines = [
        f"name: {name} # names the output folder; `gristmill schema` describes every key",
        "sources:",
        f"  {kind}:",
        f"    inputs: {json.dumps(inputs)} # relative to this file; WARC, ARC, WET, JSONL, Parquet, text",
        "    # columns: {text: content, id: key} # of rows: where the text is",
    ]
    if kind == "web":
        lines += [
            "filter:",
            "  language: {keep: [en]} # which languages stay",
            "  presets: [gopher, gopher-repetition, c4-code, fineweb] # published rules, in this order",
            "  # set: {gopher.mean_word_length.max: 12} # any bound of theirs",
        ]
    lines += ["dedup:", "  exact: {}", "  fuzzy: {threshold: 0.8} # MinHash, candidates verified"]
    if until != "documents":
        lines += ["tokenizer:", "  vocab_size: 32000 # or path: a tokenizer.json, .model or .tiktoken file"]
        lines += ["mix:", f"  proportions: {{{kind}: 1.0}} # of tokens, by source", "  # tokens: 1000000000"]
    if until == "model":
        lines += ["train:", "  model: {preset: llama-15m} # docs/trainer.md", "  # steps: 1000"]
    return "\n".join(lines) + "\n"
