"""Every stage of plain texts on one core: MB of text a CPU second, the share of it that is the kernels', and
peers on a sample.

    python benchmarks/stages.py texts.jsonl.gz ... [--datatrove PYTHON] [--dolma PYTHON] [--megabytes 92]
        [--quick] [--json] [--save]
    python benchmarks/stages.py --markdown

Documents of about 1.5 kB are cut from the `text` of each row at line ends; one in 25 has the text of another.
They are read from JSON lines and from Parquet, filtered by four presets, without and with PII, deduplicated
(exact, fuzzy, lines), and made into tokens. Each stage reads and writes Parquet in one process; kernels are
loaded by a small run before. `bare` is what the trained model's own SentencePieceProcessor takes for the same
texts; it and the whole recipe, with `keep: steps` and `keep: ends`, are run by turns, five times, and the
least of each counts. datatrove is given the first documents of the same file, from Parquet to Parquet,
dolma's compiled deduplication and mixer all of them, from JSON lines to JSON lines.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filters_texts import machine, plain_argument

from gristmill.collecting import collect_seldom
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.report.sections.stages import profile_of
from gristmill.pipeline.run import runner
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings

RESULT = Path(__file__).parent / "results" / "stages.json"
PEERS = {name: Path(__file__).with_name(f"stages_{name}.py") for name in ("peers", "dolma")}
PRESETS = ["gopher", "gopher-repetition", "c4-code", "fineweb"]
SAMPLE = 2000  # documents that peers are given
ROUNDS = 5  # of the whole recipe and of bare encoding: a machine that others use is fast and slow by turns
# What the table has a row for: label, recipe beside the source, the step that is measured.
STAGES: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("JSON lines", "jsonl", {}, "extract/web"),
    ("JSON lines, no language", "jsonl", {"extract": {"language": "off"}}, "extract/web"),
    ("Parquet", "parquet", {}, "extract/web"),
    ("Parquet, no language", "parquet", {"extract": {"language": "off"}}, "extract/web"),
    ("filter, four presets", "parquet", {"filter": {"presets": PRESETS}}, "filter/web"),
    ("filter, with PII", "parquet", {"filter": {"presets": PRESETS, "pii": {}}}, "filter/web"),
    ("exact", "parquet", {"dedup": {"exact": {}}}, "dedup-exact"),
    ("fuzzy", "parquet", {"dedup": {"fuzzy": {}}}, "dedup-fuzzy"),
    ("lines", "parquet", {"dedup": {"lines": {}}}, "dedup-lines"),
)
WHOLE = {
    "filter": {"presets": PRESETS},
    "dedup": {"exact": {}, "fuzzy": {}, "lines": {}},
    "tokenizer": {"vocab_size": 32_000},
    "mix": {"method": "natural"},
}


def make_documents(paths: list[Path], num_bytes: int, folder: Path) -> int:
    """Write `docs.jsonl` and `docs.parquet` of about so many bytes of text; return the bytes."""
    draw = random.Random(7)
    texts = list(pieces(paths, draw))
    draw.shuffle(texts)
    rows: list[dict[str, Any]] = []
    size = 0
    for number, text in enumerate(texts):
        if size >= num_bytes:
            break
        url = f"https://www.site{number % 977}.example.org/page/{number}"
        rows.append({"id": f"d{number}", "url": url, "text": text, "date": "2024-05-06T07:08:09Z"})
        size += len(text.encode())
    for number in range(0, len(rows), 25):
        rows[number]["text"] = rows[draw.randrange(len(rows))]["text"]
    with (folder / "docs.jsonl").open("w") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    pq.write_table(
        pa.Table.from_pylist(rows), folder / "docs.parquet", row_group_size=10_000, compression="zstd"
    )
    pq.write_table(pa.Table.from_pylist(rows[:SAMPLE]), folder / "sample.parquet", compression="zstd")
    with (folder / "sample.jsonl").open("w") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:SAMPLE])
    return sum(len(row["text"].encode()) for row in rows)


def pieces(paths: list[Path], draw: random.Random) -> Iterator[str]:
    """Cut texts at line ends into pieces of a few hundred to a few thousand characters."""
    for path in paths:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            for line in file:
                text = json.loads(line).get("text") or ""
                held: list[str] = []
                wanted = draw.choice([400, 800, 1200, 2400, 4000])
                for part in text.encode("utf-8", "replace").decode().split("\n"):
                    held.append(part)
                    if sum(map(len, held)) >= wanted:
                        yield "\n".join(held)[:30_000]
                        held, wanted = [], draw.choice([400, 800, 1200, 2400, 4000])
                if sum(map(len, held)) > 50:
                    yield "\n".join(held)[:30_000]


def cpu_seconds() -> float:
    return sum(os.times()[:4])


def run(values: dict[str, Any], out: Path, *, profile: bool = False) -> dict[str, float]:
    """Run a recipe in this process; CPU seconds by step."""
    found: dict[str, float] = defaultdict(float)
    whole = runner.execute

    def timed(step: Any, *arguments: Any, **keywords: Any) -> Any:
        begun = cpu_seconds()
        try:
            return whole(step, *arguments, **keywords)
        finally:
            found[step.name] += cpu_seconds() - begun

    runner.execute = timed
    try:
        settings = EngineSettings(kind="inline", profile=profile)
        runner.run_plan(build_plan(make_recipe(values)), out, settings, Progress(quiet=True))
    finally:
        runner.execute = whole
    return dict(found)


def recipe(path: Path, sections: dict[str, Any], limit: int | None = None) -> dict[str, Any]:
    source = {"inputs": [str(path)]} | ({"limit": limit} if limit else {})
    return {"name": "stages", "sources": {"web": source}, **sections}


def text_bytes_into(out: Path, name: str) -> int:
    """The bytes of text that a step read: for one where documents enter, those it made."""
    (step,) = (step for step in read_view(out).steps if step.name == name)
    books = step.totals.books
    return books.created_bytes or books.bytes_in


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Return MB a second, CPU seconds and the kernels' share of each stage."""
    table: dict[str, dict[str, float]] = {}
    for number, (label, ending, sections, name) in enumerate(STAGES):
        path = folder / f"docs.{ending}"
        run(recipe(path, sections, 300), folder / f"warm{number}")
        seconds = run(recipe(path, sections), folder / f"out{number}")[name]
        size = text_bytes_into(folder / f"out{number}", name)
        run(recipe(path, sections), folder / f"profiled{number}", profile=True)
        (step,) = (step for step in read_view(folder / f"profiled{number}").steps if step.name == name)
        spent = profile_of(step)
        cpu = sum(value for kind, value in spent.items() if kind != "waiting")
        table[label] = {
            "mb_per_s": round(size / 1e6 / seconds, 1),
            "seconds": round(seconds, 2),
            "kernel_share": round(spent["kernel"] / cpu, 2),
        }
        for made in ("warm", "out", "profiled"):
            shutil.rmtree(folder / f"{made}{number}", ignore_errors=True)
        print(f"{label:26} {table[label]}", file=sys.stderr)
    return table


def whole_recipe(folder: Path) -> dict[str, Any]:
    """CPU seconds of the whole recipe, keeping all steps' documents or those of ends, and of its model's bare
    encoding of the texts that came in."""
    import sentencepiece

    small = {**WHOLE, "tokenizer": {"vocab_size": 8000}}
    texts = pq.read_table(folder / "docs.parquet", columns=["text"])["text"].to_pylist()
    runs: dict[str, list[dict[str, float]]] = {"steps": [], "ends": []}
    bares = []
    for keep in runs:
        run(recipe(folder / "docs.jsonl", {**small, "keep": keep}, 2000), folder / f"warm-{keep}")
    for number in range(ROUNDS):
        for keep, found in runs.items():
            out = folder / f"{keep}{number}"
            found.append(run(recipe(folder / "docs.jsonl", {**WHOLE, "keep": keep}), out))
            model = model_of(out).read_bytes()
            shutil.rmtree(out)
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        begun = time.process_time()
        for text in texts:
            processor.encode(text)
        bares.append(time.process_time() - begun)
    steps, ends = (min(found, key=lambda spent: sum(spent.values())) for found in runs.values())
    whole, fused, bare = sum(steps.values()), sum(ends.values()), min(bares)
    return {
        **{name: round(value, 2) for name, value in steps.items()},
        "whole": round(whole, 2),
        "whole_keep_ends": round(fused, 2),
        "bare": round(bare, 2),
        "to_bare": {"steps": round(whole / bare, 2), "ends": round(fused / bare, 2)},
    }


def model_of(out: Path) -> Path:
    (model,) = (
        path
        for step in read_view(out).steps
        if step.name == "tokenizer" and step.manifest
        for path in step.manifest.folder.rglob("*.model")
    )
    return model


def peers(folder: Path, interpreters: dict[str, str | None]) -> dict[str, dict[str, float]]:
    """MB a CPU second of each peer's stages, by the interpreters that have them."""
    found: dict[str, dict[str, float]] = {}
    for name, interpreter in interpreters.items():
        if interpreter:
            command = [interpreter, str(PEERS[name]), str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found |= json.loads(done.stdout.splitlines()[-1])
    return found


def as_markdown(result: dict[str, Any]) -> str:
    """The table of a result, as README and documentation show it: a row for ours and for each peer."""
    labels = list(result["ours"])
    head = ["MB of text/s, one core", *labels]
    ours = [result["ours"][label] for label in labels]
    rows = [head, ["---"] * len(head), ["gristmill", *(f"{found['mb_per_s']:.1f}" for found in ours)]]
    rows.append(["of its time, kernels", *(f"{100 * found['kernel_share']:.0f} %" for found in ours)])
    for name, theirs in result["peers"].items():
        ratios = {label: result["ratio"][name].get(label) for label in labels}
        cells = [f"{theirs[at]:.1f} ({ratio:.1f} x)" if ratio else "" for at, ratio in ratios.items()]
        rows.append([name.partition(",")[0], *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--markdown", action="store_true", help="print the table of the kept result")
    parser.add_argument("--datatrove", default=None, help="an interpreter that has datatrove")
    parser.add_argument("--dolma", default=None, help="an interpreter that has dolma")
    parser.add_argument("--megabytes", type=float, default=92)
    parser.add_argument("--quick", action="store_true", help="four megabytes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    if options.markdown:
        print(as_markdown(json.loads(RESULT.read_text())))
        return
    if not options.texts:
        parser.error("name files of JSON lines with a `text`")
    folder = Path(tempfile.mkdtemp(prefix="stages-"))
    collect_seldom()  # as `gristmill run` does
    try:
        size = make_documents(options.texts, int(1e6 * (4 if options.quick else options.megabytes)), folder)
        ours = measure(folder)
        whole = whole_recipe(folder)
        theirs = peers(folder, {"peers": options.datatrove, "dolma": options.dolma})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = {
        peer: {label: round(ours[label]["mb_per_s"] / speed, 1) for label, speed in speeds.items() if speed}
        for peer, speeds in theirs.items()
    }
    result = {
        "what": "stages of plain texts on one core",
        "unit": "MB of text a CPU second",
        "ours": ours,
        "recipe": whole,
        "text_bytes": size,
        "peers": theirs,
        "ratio": ratios,
        "machine": machine(),
        "versions": {name: version(name) for name in ("pyarrow", "numba", "eldc", "sentencepiece")},
        "command": " ".join(["python benchmarks/stages.py", *map(plain_argument, sys.argv[1:])]),
    }
    if options.save:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'stage':26} {'MB/s':>7} {'kernels':>8}  " + "  ".join(theirs))
    for label, found in ours.items():
        beside = "  ".join(
            f"{speeds[label]:.2f}".rjust(len(name)) if label in speeds else " " * len(name)
            for name, speeds in theirs.items()
        )
        print(f"{label:26} {found['mb_per_s']:7.1f} {100 * found['kernel_share']:6.0f} %  {beside}")
    steps, ends = whole["to_bare"].values()
    print(
        f"whole recipe: {whole['whole']} s, {steps} x bare encoding of the same texts; with `keep: ends`"
        f" {whole['whole_keep_ends']} s, {ends} x"
    )


if __name__ == "__main__":
    main()
