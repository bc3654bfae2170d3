"""Filters: our kernels, our plain reference and datatrove's blocks over the same texts, one core; and who
decides what.

    python benchmarks/filters.py [texts.jsonl.gz ...] [--quick] [--json] [--save] [--peers PYTHON] [--c4
    PYTHON --nltk-data FOLDER]

Texts are the `text` or `gold_text` of each row; without any, the documentation of Python's own modules is
used. `--peers` names an interpreter that has datatrove and spaCy (`pip install datatrove spacy nltk regex
numba pyarrow`), which run on the first `--limit` texts; `--c4` one that has `tensorflow-datasets
tensorflow-cpu nltk`, whose cleaning of pages runs on every text of each file, with the punkt_tab model under
`--nltk-data`. What is not named is left out. Speeds are MB of UTF-8 text per CPU second. A disagreement
belongs to the class `words` if it is gone once datatrove is given our words: spaCy splits punctuation off and
cuts hyphenated words, the definition here goes by white space.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pictures
import pyarrow as pa
from filters_c4 import compare_c4
from filters_texts import documents, machine, plain_argument, read_texts

from gristmill.filters import reference
from gristmill.filters.block import Batch
from gristmill.filters.passes import batches, compile_filters
from gristmill.filters.presets import PRESETS
from gristmill.filters.settings import FilterSettings
from gristmill.text.words import Scratch

PRESETS_MEASURED = ("gopher", "gopher-repetition", "fineweb", "c4-code")
RESULT = Path(__file__).parent / "results" / "filters.json"
PEER_PRESETS = ("gopher", "gopher-repetition", "fineweb", "c4-paper")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--quick", action="store_true", help="100 texts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--limit", type=int, default=1200)
    parser.add_argument(
        "--save", action="store_true", help="keep the result in benchmarks/results/filters.json"
    )
    parser.add_argument("--peers", default=None, help="the interpreter that has datatrove and spaCy")
    parser.add_argument("--c4", default=None, help="the interpreter that has tensorflow-datasets")
    parser.add_argument(
        "--nltk-data", type=Path, default=None, help="a folder with tokenizers/punkt_tab/english"
    )
    arguments = parser.parse_args()
    texts = [text for text in read_texts(arguments.texts) if len(text) > 200]
    texts = texts[: 100 if arguments.quick else arguments.limit]
    size = sum(len(text.encode()) for text in texts)
    table = documents(texts)
    report(f"{len(texts):,} texts, {size / 1e6:.1f} MB")

    ours = {f"signals of {', '.join(PRESETS_MEASURED)}": measure_speed(table, PRESETS_MEASURED)}
    ours |= {
        f"  {name} alone, words and lines included": measure_speed(table, (name,))
        for name in PRESETS_MEASURED
    }
    filters = compile_filters(FilterSettings(presets=PRESETS_MEASURED), seed=1)
    ours["measure, decide, edit and account"] = size / best(lambda: filters.apply(table)) / 1e6
    few = texts[: max(1, len(texts) // 10)]
    ours["the plain reference"] = sum(len(text.encode()) for text in few) / best(lambda: plain(few), 1) / 1e6
    for name, speed in ours.items():
        report(f"{name}: {speed:.2f} MB/s")
    first = next(iter(ours.values()))
    peers: dict[str, float] = {"plain reference": ours["the plain reference"]}
    agreement: dict[str, Any] = {}
    if arguments.peers:
        found = run_peers(arguments.peers, texts)
        for words, title in (("spacy", "spaCy's words (its default)"), ("split", "words split at blanks")):
            seconds = {name: block[words]["seconds"] for name, block in found["blocks"].items()}
            peers |= {f"datatrove {name}, {title}": size / spent / 1e6 for name, spent in seconds.items()}
            peers[f"datatrove all blocks, {title}"] = size / found["chained_seconds"][words] / 1e6
        agreement = compare(table, found["blocks"])
    for name, speed in peers.items():
        report(f"{name}: {speed:.3f} MB/s, ours is {rate_beside(name, ours) / speed:.0f} times as fast")
    for name, row in agreement.items():
        report(f"{name}: {json.dumps(row)}")
    c4 = {}
    if arguments.c4:
        for path in arguments.texts:
            c4[path.name] = compare_c4(documents(list(read_texts([path]))), arguments.c4, arguments.nltk_data)
            report(f"c4-code beside its source, {path.name}: {json.dumps(c4[path.name])}")
    compiling = first_use()
    report(f"first use: {json.dumps(compiling)}")
    result = {
        "what": "all signals of c4-code, gopher, gopher-repetition and fineweb",
        "unit": "MB/s per core",
        "ours": round(first, 2),
        "peers": {name: round(speed, 4) for name, speed in peers.items()},
        "ratio": {name: round(rate_beside(name, ours) / speed, 1) for name, speed in peers.items()},
        "parts": {name.strip(): round(speed, 2) for name, speed in ours.items()},
        "texts": {"texts": len(texts), "megabytes": round(size / 1e6, 2)},
        "agreement": agreement,
        "c4-code beside its source": c4,
        "first_use": compiling,
        "machine": machine(),
        "versions": (
            {name: version(name) for name in ("numba", "numpy", "pyarrow", "datatrove")}
            | {"python": platform.python_version()}
        ),
        "command": " ".join(["python", "benchmarks/filters.py", *map(plain_argument, sys.argv[1:])]),
    }
    if arguments.save:
        kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        measured = {name: found for name, found in result.items() if found}  # what was not stays as it was
        RESULT.write_text(json.dumps({**kept, **measured}, indent=1) + "\n")
        pictures.draw()
    if arguments.json:
        print(json.dumps(result))


def rate_beside(peer: str, ours: dict[str, float]) -> float:
    """Our speed at what a peer does: one preset's signals beside one block, all beside all."""
    beside = {"c4-paper": "c4-code"}
    for preset in PEER_PRESETS:
        if peer.startswith(f"datatrove {preset},"):
            return ours[f"  {beside.get(preset, preset)} alone, words and lines included"]
    return next(iter(ours.values()))


def first_use() -> dict[str, float]:
    """Time the import of everything that filters compile, with an empty cache and again with what it has been
    filled with."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty_cache", "filled_cache"):
            start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            environment = {**os.environ, "XDG_CACHE_HOME": folder}
            subprocess.run(
                [sys.executable, "-c", "import gristmill.filters.passes"], env=environment, check=True
            )
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
            seconds[f"{name}_cpu_seconds"] = round(
                now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, 1
            )
    return seconds


def measure_speed(table: pa.Table, presets: tuple[str, ...]) -> float:
    """Measure all signals of some presets on one version of the texts."""
    blocks = [PRESETS[name].block({}, {}) for name in presets]

    scratch = Scratch()

    def measure() -> None:
        for part in batches(table):
            batch = Batch(part, scratch)
            for block in blocks:
                block.measure(batch)

    size = sum(len(text.encode()) for text in table.column("text").to_pylist())
    return size / best(measure) / 1e6


def plain(texts: list[str]) -> None:
    for text in texts:
        reference.gopher(text)
        reference.repetition(text)
        reference.fineweb(text)
        reference.c4(text, reference.C4Settings())


def best(call: Callable[[], object], rounds: int = 20) -> float:
    """Return the least CPU seconds of several calls: other processes can only add."""
    call()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


def run_peers(interpreter: str, texts: list[str]) -> dict[str, Any]:
    script = Path(__file__).with_name("filters_peers.py")
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    path = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [interpreter, str(script)],
        input=lines,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        sys.exit(f"the peers failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(table: pa.Table, blocks: dict[str, Any]) -> dict[str, Any]:
    """Set our decision of each preset beside datatrove's, with its words and with ours."""
    rows = {}
    for name in PEER_PRESETS:
        filters = compile_filters(FilterSettings(presets=(name,), set={f"{name}.languages": None}), seed=1)
        outcome = filters.apply(table)
        failed = dict(
            zip(
                outcome.removed.column("id").to_pylist(),
                outcome.removed.column("rules").to_pylist(),
                strict=True,
            )
        )
        ours = [failed.get(id_) for id_ in table.column("id").to_pylist()]
        theirs, shared = blocks[name]["spacy"]["reasons"], blocks[name]["shared"]["reasons"]
        differ = [row for row, own in enumerate(ours) if (own is None) != (theirs[row] is None)]
        rest = [row for row, own in enumerate(ours) if (own is None) != (shared[row] is None)]
        classes = Counter(f"words: {theirs[row] or ours[row][0]}" for row in differ if row not in rest)
        classes.update(
            f"{'kept' if ours[row] is None else ours[row][0]} against {shared[row] or 'kept'}" for row in rest
        )
        rows[name] = {
            "agree": round(1 - len(differ) / len(ours), 4),
            "agree_with_shared_words": round(1 - len(rest) / len(ours), 4),
            "classes": dict(classes.most_common()),
        }
    return rows


def report(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
