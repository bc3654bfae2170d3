"""What is saved where documents are written only at the end of a chain of steps: CPU seconds and bytes on
disk with `keep: steps` and with `keep: ends`.

    python benchmarks/keep_ends.py texts.jsonl.gz ... [--pages crawl.warc.gz ...] [--megabytes 60]
        [--rounds 5] [--quick] [--json] [--save]

Documents are those of `benchmarks/stages.py`. Both ways run in turn in one process, kernels loaded before;
the least seconds of all rounds count. Both write the same documents at the end, which is looked at.

`selections` is the other way to write less: a step that only drops rows would write which rows of its input
stay. It saves writing them, and every reader behind reads the rows that are gone, too: milliseconds for a
megabyte of text that came in, for shares of rows that stay.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filters_texts import machine, plain_argument
from stages import PRESETS, cpu_seconds, make_documents

from gristmill.files.storage import ParquetWriter, publish, read_tables
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import RunResult, run_plan
from gristmill.pipeline.run.settings import EngineSettings

RESULT = Path(__file__).parent / "results" / "keep_ends.json"
OFF = {"extract": {"language": "off"}}
FILTER = {"filter": {"presets": PRESETS}}
TWICE = {**FILTER, "stages": ["filter", {"filter": {"presets": ["refinedweb-lines"], "pii": {}}}]}
CHAINS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JSON lines, one preset", "docs.jsonl", {**OFF, "filter": {"presets": ["c4-code"]}}),
    ("JSON lines, four presets", "docs.jsonl", {**OFF, **FILTER}),
    ("Parquet, four presets", "docs.parquet", {**OFF, **FILTER}),
    ("Parquet, filtered twice", "docs.parquet", {**OFF, **TWICE}),
)


def run(inputs: list[Path], sections: dict[str, Any], keep: str, out: Path) -> tuple[float, RunResult]:
    values = {"name": "ends", "sources": {"web": {"inputs": [str(path) for path in inputs]}}, **sections}
    began = cpu_seconds()
    plan = build_plan(make_recipe({**values, "keep": keep}))
    result = run_plan(plan, out, EngineSettings(kind="inline"), Progress(quiet=True))
    return cpu_seconds() - began, result


def compared(
    inputs: list[Path], sections: dict[str, Any], folder: Path, rounds: int, say: Callable[[str], None]
) -> dict[str, float]:
    """The least CPU seconds of each way over the rounds, and the bytes that its run leaves."""
    seconds: dict[str, float] = {}
    sizes: dict[str, int] = {}
    ends: dict[str, str] = {}
    for number in range(rounds + 1):  # the first loads kernels
        for keep in ("steps", "ends") if number % 2 else ("ends", "steps"):
            out = folder / keep
            took, result = run(inputs, sections, keep, out)
            if number:
                seconds[keep] = min(took, seconds.get(keep, took))
            ends[keep] = list(result.manifests.values())[-1].content_digest
            sizes[keep] = sum(path.stat().st_size for path in out.rglob("*.parquet"))
            shutil.rmtree(out)
    assert ends["steps"] == ends["ends"], "both ways must end with the same bytes"
    found = {
        "steps_seconds": round(seconds["steps"], 2),
        "ends_seconds": round(seconds["ends"], 2),
        "saved_seconds_fraction": round(1 - seconds["ends"] / seconds["steps"], 3),
        "saved_bytes_fraction": round(1 - sizes["ends"] / sizes["steps"], 3),
    }
    say(f"  {found}")
    return found


def selections(documents: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """CPU milliseconds for a megabyte of text: to write the rows that stay, to read them back, and to read
    all rows and leave out those that are gone."""
    tables = list(read_tables(documents))
    size = sum(pc.sum(pc.binary_length(table["text"])).as_py() for table in tables) / 1e6
    draw = np.random.default_rng(3)
    found: dict[str, dict[str, float]] = {}
    for share in (0.95, 0.7, 0.4):
        masks = [pa.array(draw.random(len(table)) < share) for table in tables]
        took: dict[str, list[float]] = {"write": [], "read": [], "read_and_select": []}
        for number in range(rounds):
            path = folder / f"kept-{number}.parquet"
            began = time.process_time()
            with ParquetWriter(path, tables[0].schema) as writer:
                for table, mask in zip(tables, masks, strict=True):
                    writer.write(table.filter(mask))
            publish(path, folder / "step", "kept", "documents", writer.num_rows)
            took["write"].append(time.process_time() - began)
            (kept,) = (folder / "step" / "data").iterdir()
            began = time.process_time()
            for _ in read_tables(kept):
                pass
            took["read"].append(time.process_time() - began)
            began = time.process_time()
            for table, mask in zip(read_tables(documents), masks, strict=True):
                table.filter(mask)
            took["read_and_select"].append(time.process_time() - began)
            shutil.rmtree(folder / "step")
        found[f"{share:.0%} stay"] = {
            name: round(1000 * min(values) / size, 2) for name, values in took.items()
        }
    return found


def kept_documents(path: Path, folder: Path) -> Path:
    """The documents that extraction writes of a file, in one file."""
    _, result = run([path], {**OFF, "shard_bytes": 1 << 40}, "steps", folder / "extracted")
    (documents,) = result.manifests["extract/web"].paths("documents")
    return documents


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--pages", nargs="*", type=Path, default=[])
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="four megabytes, one round")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    megabytes, rounds = (4, 1) if options.quick else (options.megabytes, options.rounds)

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    folder = Path(tempfile.mkdtemp(prefix="ends-"))
    try:
        size = make_documents(options.texts, int(1e6 * megabytes), folder)
        ours = {}
        for label, name, sections in CHAINS:
            say(label)
            ours[label] = compared([folder / name], sections, folder, rounds, say)
        documents = kept_documents(folder / "docs.parquet", folder)
        chosen = selections(documents, folder, max(3, rounds))
        if options.pages:
            say("pages, four presets")
            ours["pages, four presets"] = compared(options.pages, FILTER, folder, rounds, say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "what": "documents written at the end of a chain of steps only",
        "unit": "CPU seconds of a run",
        "ours": ours,
        "selections": chosen,
        "text_bytes": size,
        "peers": {},
        "ratio": {},
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyarrow", "numba")},
        "command": " ".join(["python benchmarks/keep_ends.py", *map(plain_argument, sys.argv[1:])]),
    }
    if options.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
