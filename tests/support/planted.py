"""Recipes with a known better side: prose against the same words shuffled, or against a repeated part."""

from __future__ import annotations

import json
import random
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import yaml


def paragraphs() -> list[str]:
    """Paragraphs of Python's own help topics, each whole and once."""
    parts = [part.strip() for _, text in sorted(topics.items()) for part in text.split("\n\n")]
    return [*dict.fromkeys(part for part in parts if len(part) > 200)]


def shuffled(text: str, seed: int) -> str:
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


def write_rows(path: Path, texts: list[str]) -> None:
    lines = [json.dumps({"id": f"{path.stem}:{number}", "text": text}) for number, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")


def write_planted(folder: Path, **changes: Any) -> Path:
    """Write a recipe over `good.jsonl`, beside `bad.jsonl`, `same.jsonl` and the set `target.jsonl`."""
    texts = paragraphs()
    train, target = [t for n, t in enumerate(texts) if n % 4], texts[::4]
    write_rows(folder / "good.jsonl", train)
    write_rows(folder / "bad.jsonl", [shuffled(text, number) for number, text in enumerate(train)])
    few = train[: len(train) // 10]
    write_rows(folder / "repeated.jsonl", (few * 10)[: len(train)])
    write_rows(folder / "target.jsonl", target[:60])
    recipe = {
        "name": "planted",
        "seed": 5,
        "sources": {"text": {"inputs": ["good.jsonl"], "filter": False}},
        "tokenizer": {"vocab_size": 512},
        "mix": {"heldout_fraction": 0.05},
        "train": {
            "model": {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 64},
            "optimizer": {"name": "muon", "lr": 0.02},
            "batch": 4,
            "log_every": 2,
        },
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path
