"""What the benches of proof share: a recipe over web pages, targets cut from texts, how verbs are called.

Texts are files of JSON lines (.gz) with `id` and `text`. A target is cut from the middle of its texts, so
that title pages and licences do not decide; every second Wikipedia text is curated text for a classifier
instead, and no target.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filters_texts import machine, plain_argument

CURATED = "wikipedia"  # the target whose other half teaches the classifier
FROM, PIECES = 2000, 3  # characters into a long text where its first piece begins; pieces of a book at most
MODEL = {"num_layers": 2, "width": 160, "num_heads": 5, "ffn": 480, "context": 256}  # 1.0 M parameters


def arguments(description: str, result: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--web", nargs="+", type=Path, required=True, help="WARC files to train on")
    parser.add_argument("--target", action="append", default=[], metavar="NAME=FILE[,FILE]")
    parser.add_argument("--work", type=Path, required=True, help="where data, models and scores go; resumes")
    parser.add_argument("--documents", type=int, default=48, help="of a target")
    parser.add_argument("--document-bytes", type=int, default=800)
    parser.add_argument("--save", action="store_true", help=f"keep the result in {result.parent.name}/")
    return parser


def write_recipe(options: argparse.Namespace) -> Path:
    """Write the recipe, its targets and the curated texts into the work folder."""
    folder = options.work
    folder.mkdir(parents=True, exist_ok=True)
    for said in options.target:
        name, _, files = said.partition("=")
        rows = [row for file in files.split(",") for row in _rows(Path(file))]
        if name == CURATED:
            _write(folder / "curated.jsonl", [(row["id"], row["text"]) for row in rows[1::2]])
            rows = rows[::2]
        _write(folder / f"{name}.jsonl", list(_pieces(rows, options.document_bytes)))
    recipe = {
        "name": "proof",
        "seed": 3,
        "sources": {
            "web": {"inputs": [str(path.resolve()) for path in options.web]},
            "curated": {"inputs": [str(folder.resolve() / "curated.jsonl")], "filter": False},
        },
        "filter": {"presets": [], "language": {"keep": ["en"], "min_score": 0.5}},
        "tokenizer": {"vocab_size": 2048},
        "mix": {"proportions": {"web": 1.0}, "heldout_fraction": 0.02},
        "train": {"model": MODEL, "optimizer": {"name": "muon", "lr": 0.01}, "batch": 4, "dtype": "fp32"},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def targets(options: argparse.Namespace) -> list[str]:
    """The options that name the targets and how much of each is scored."""
    said = ["--documents", str(options.documents), "--document-bytes", str(options.document_bytes)]
    for one in options.target:
        name = one.partition("=")[0]
        said += ["--target", f"{name}={options.work.resolve() / name}.jsonl"]
    return said


def gristmill(*said: str | Path) -> None:
    """Run a verb as a user does; its output is this one's. Raises where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    subprocess.run(
        [sys.executable, "-m", "gristmill.pipeline.cli", *map(str, said)], check=True, env=environment
    )


def made_here() -> dict[str, Any]:
    """Machine, load, versions and command, for a result."""
    return {
        "machine": machine(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy")},
        "command": " ".join(["python", *(_plain(argument) for argument in sys.argv)]),
    }


def rounded(value: Any, digits: int = 5) -> Any:
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part, digits) for part in value]
    return round(value, digits) if isinstance(value, float) else value


def keep(result: Path, facts: dict[str, Any], save: bool) -> None:
    text = json.dumps(rounded(facts), indent=1) + "\n"
    print(text)
    if save:
        result.write_text(text)


def _plain(argument: str) -> str:
    name, equals, files = argument.partition("=")
    if equals:
        return f"{name}={','.join(plain_argument(file) for file in files.split(','))}"
    return f"benchmarks/{Path(argument).name}" if argument == sys.argv[0] else plain_argument(argument)


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [row for line in file if (row := json.loads(line)).get("text")]


def _pieces(rows: list[dict[str, Any]], num_bytes: int) -> Any:
    for row in rows:
        text = row["text"]
        for number in range(PIECES):
            begin = FROM * (1 + 10 * number)
            if len(text) < begin + num_bytes:
                break
            begin = text.index(" ", begin) + 1 if " " in text[begin : begin + num_bytes] else begin
            yield f"{row['id']}:{number}", text[begin : begin + num_bytes]
        if len(text) < FROM + num_bytes and len(text) >= num_bytes // 2:
            yield row["id"], text[:num_bytes]


def _write(path: Path, texts: list[tuple[str, str]]) -> None:
    lines = [json.dumps({"id": str(key), "text": text}) for key, text in texts]
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text() != text:  # another bench may be reading it
        path.write_text(text)
