"""Compile every kernel once, for this machine's processor, so that no worker of it does."""

from __future__ import annotations

import importlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gristmill
from gristmill.filters.presets import PRESETS
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings

_WORDS = "the words of that river and with having water to be under it for the morning as his own day"


def warm(say: Any) -> dict[str, float]:
    """Import every module that has kernels and run each stage on a few small pages; return the seconds of
    each."""
    took: dict[str, float] = {}
    began = time.perf_counter()
    for name in kernel_modules():
        importlib.import_module(name)
    took["import"] = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="gristmill-warm-") as name:
        folder = Path(name)
        _write(folder)
        for title, sections in _recipes(folder):
            began = time.perf_counter()
            recipe = make_recipe({"name": "warm", "sources": _sources(folder), **sections})
            run_plan(build_plan(recipe), folder / title, EngineSettings(kind="inline"), Progress(quiet=True))
            took[title] = time.perf_counter() - began
            say(f"  {title}: {took[title]:.1f} s")
    return took


def kernel_modules() -> list[str]:
    """Every module of the package that compiles something, found by its source."""
    root = Path(gristmill.__file__).parent
    found = []
    for part in sorted(path for path in root.iterdir() if path.is_dir() and path.name != "__pycache__"):
        for path in sorted(part.resolve().rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "@kernel" in text or "njit" in text:
                below = path.relative_to(part.resolve()).with_suffix("").parts
                found.append(".".join(("gristmill", part.name, *below)))
    return found


def _sources(folder: Path) -> dict[str, Any]:
    return {
        "web": {"inputs": str(folder / "web.jsonl"), "columns": {"text": None, "html": "html"}},
        "text": {"inputs": str(folder / "text.jsonl"), "filter": False},
    }


def _recipes(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every stage with kernels once: extraction and deduplication, tokens and mixture, and each preset."""
    blocks = {"extract": {"extractor": "blocks"}}
    dedup: dict[str, Any] = {
        name: {}
        for name in (
            "url",
            "exact",
            "fuzzy",
            "semantic",
            "lines",
            "paragraphs",
            "spans",
            "substring",
            "passages",
        )
    }
    yield "dedup", {**blocks, "dedup": dedup}
    yield "tokens", {**blocks, "tokenizer": {"vocab_size": 320}, "mix": {"heldout_fraction": 0.1}}
    yield "ngram", {**blocks, "ngram": {"train_on": ["text"], "apply_to": ["web"]}}
    yield "topics", {**blocks, "topics": {"number": 2, "min_documents": 1, "max_fraction": 1}}
    for preset in PRESETS:
        yield preset, {**blocks, "filter": {"presets": [preset]}}


def _write(folder: Path) -> None:
    texts = [" ".join(f"{_WORDS} number {n * line}." for line in range(12)) for n in range(40)]
    rows = [
        {"id": str(n), "html": f"<html><body><article><h1>{n}</h1><p>{text}</p></article></body></html>"}
        for n, text in enumerate(texts)
    ]
    (folder / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
