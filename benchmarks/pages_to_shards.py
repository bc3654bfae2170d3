"""What the stages from tokenizer to shards cost beside extraction, over a recipe of real pages.

    python benchmarks/pages_to_shards.py --warcs FOLDER [--copies 8] [--json]

The folder's WARC files are read by so many sources: ids are of (source, record), so that each copy has ids of
its own. Every step is timed in CPU seconds of this process and the ones that it waited for (extractors run in
processes of their own); imports and compiled kernels are loaded by a small run before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run import runner
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings

TOKENS = ("tokenizer", "encode", "mix")


def recipe(files: list[str], copies: int, limit: int | None) -> dict[str, Any]:
    sources = {
        f"copy{number}": {"inputs": files, "dedup": False} | ({"limit": limit} if limit else {})
        for number in range(copies)
    }
    return {
        "name": "stages",
        "sources": sources,
        "extract": {"extractor": "blocks"},
        "filter": {"presets": ["gopher", "c4-code"]},
        "tokenizer": {"vocab_size": 1000 if limit else 32_000},
        "mix": {"method": "natural"},
    }


def cpu_seconds() -> float:
    return sum(os.times()[:4])


def run(values: dict[str, Any], out: Path) -> dict[str, float]:
    """CPU seconds by stage."""
    found: dict[str, float] = defaultdict(float)
    whole = runner.execute

    def timed(step: Any, *arguments: Any, **keywords: Any) -> Any:
        begun = cpu_seconds()
        try:
            return whole(step, *arguments, **keywords)
        finally:
            found[step.stage] += cpu_seconds() - begun

    runner.execute = timed
    try:
        runner.run_plan(
            build_plan(make_recipe(values)), out, EngineSettings(kind="inline"), Progress(quiet=True)
        )
    finally:
        runner.execute = whole
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--warcs", required=True)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    files = [str(path) for path in sorted(Path(options.warcs).glob("*.warc.gz"))]
    folder = Path(tempfile.mkdtemp())
    try:
        run(recipe(files[:1], 1, 60), folder / "warm")
        seconds = run(recipe(files, options.copies, None), folder / "out")
        size = sum(path.stat().st_size for path in (folder / "out").rglob("*.bin") if "shards" in path.parts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tokens = sum(seconds.get(name, 0.0) for name in TOKENS)
    result = {
        "what": "tokenizer, encoding and mixing beside extraction", "unit": "CPU seconds",
        "ours": {name: round(value, 2) for name, value in seconds.items()},
        "ratio": {"tokens to extraction": round(tokens / seconds["extract"], 4)},
        "files": len(files) * options.copies, "payload_bytes": size,
        "machine": f"{os.cpu_count()} cores",
    }  # fmt: skip
    if options.json:
        print(json.dumps(result))
        return
    for name, value in seconds.items():
        print(f"{name:12} {value:8.2f} s")
    print(f"tokenizer, encode and mix: {100 * tokens / seconds['extract']:.1f} % of extraction")


if __name__ == "__main__":
    main()
