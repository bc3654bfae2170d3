"""Passages planted into real text with more and more changed words: what is found, what else, how fast.

    python benchmarks/dedup_passages.py texts.jsonl.gz ... [--passages 200] [--json] [--save]

Texts in which the stage finds a repeat by itself are left out first, with those that hold it. Then passages
of 600 to 2,000 bytes are copied into other texts, with a share of their words replaced (by words of the
corpus), deleted or inserted. Recall is the share of their bytes that is cut, from the later text of the two;
precision the share of what is cut that is theirs. Beside `passages` stand the rules of exact substrings:
deduplicate-text-datasets' (Lee et al. 2022) at 500 bytes, as Dolma 3 has it, at 100 bytes, as text-dedup's
suffix array has it, and at 50 words; computed by `dedup.substring`, which gives what they give over a corpus
in one piece, first copies kept. Speeds are MB of text per CPU second of one core, from Parquet to Parquet.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.dedup.settings.parts import PassageSettings, SubstringSettings
from gristmill.dedup.sorted.runs import key_range
from gristmill.document import DOCUMENT, document_id
from gristmill.pipeline.phases.dedup import passages, substring
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges

RESULTS = Path(__file__).parent / "results" / "dedup_passages.json"
SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
RULES: dict[str, tuple[Frame, Any]] = {
    "passages": (passages.FRAME, PassageSettings()),
    "substring, 500 bytes": (substring.FRAME, SubstringSettings(min_bytes=500)),
    "substring, 100 bytes": (substring.FRAME, SubstringSettings(min_bytes=100)),
    "substring, 50 words": (substring.FRAME, SubstringSettings(min_tokens=50)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--passages", type=int, default=200, help="of each share of changed words")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="write results/dedup_passages.json")
    arguments = parser.parse_args()
    texts = []
    for path in arguments.texts:
        with gzip.open(path, "rt") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    found = measure(texts, arguments.passages)
    result = {
        **found,
        "command": " ".join(
            ["python benchmarks/dedup_passages.py", *(Path(word).name for word in sys.argv[1:])]
        ),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": {name: version(name) for name in ("numba", "numpy", "pyarrow")},
    }
    if arguments.save:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))


def measure(texts: list[str], number: int) -> dict[str, Any]:
    _speed, natural = run(*RULES["passages"], texts)
    repeated = {text for text, cuts in natural.items() if cuts} | {
        holder for cuts in natural.values() for _start, _end, holder in cuts
    }
    plain = [text for place, text in enumerate(texts) if place not in repeated and len(text.split()) > 150]
    told(
        f"{len(texts):,} texts, {len(repeated):,} with repeats of their own; {len(plain):,} are planted into"
    )
    corpus, planted = plant(plain, number)
    rows: dict[str, Any] = {}
    for name, (frame, settings) in RULES.items():
        speed, cuts = run(frame, settings, corpus)
        rows[name] = {**judge(cuts, planted), "mb_per_s": round(speed, 1)}
        told(f"{name}: {json.dumps(rows[name])}")
    return {
        "what": "share of planted passages' bytes that is cut, by share of changed words",
        "texts": {"number": len(corpus), "mb": round(sum(len(text.encode()) for text in corpus) / 1e6, 1)},
        "passages_of_each_share": number,
        "rows": rows,
    }


@dataclass(frozen=True)
class Planted:
    """A passage and its changed copy: the texts that hold them and the bytes there."""

    share: float
    texts: tuple[int, int]
    bytes: tuple[tuple[int, int], tuple[int, int]]


def plant(texts: list[str], number: int) -> tuple[list[str], list[Planted]]:
    """Copy passages of some texts into others; every text is part of one planting at most."""
    chance = random.Random(7)
    order = chance.sample(range(len(texts)), len(texts))
    words = [word for text in chance.sample(texts, min(200, len(texts))) for word in text.split()]
    corpus, planted = list(texts), []
    for share in SHARES:
        for _ in range(number):
            if len(order) < 2:
                raise SystemExit(f"{len(texts)} texts are too few for {number} passages of each share")
            donor, host = order.pop(), order.pop()
            start, end = passage(texts[donor], chance)
            copy = changed(texts[donor][start:end], share, words, chance)
            at = chance.choice([0, *(place for place, mark in enumerate(texts[host]) if mark == " ")])
            before, after = texts[host][:at], texts[host][at:]
            corpus[host] = f"{before}\n{copy}\n{after}"
            own = len(texts[donor][:start].encode()), len(texts[donor][:end].encode())
            first = len(before.encode()) + 1
            planted.append(Planted(share, (donor, host), (own, (first, first + len(copy.encode())))))
    return corpus, planted


def passage(text: str, chance: random.Random) -> tuple[int, int]:
    """Characters of a passage in whole words, of 600 to 2,000 bytes."""
    blanks = [0, *(place + 1 for place, mark in enumerate(text) if mark == " "), len(text) + 1]
    size = chance.randrange(650, 2000)
    inside = [start for start in blanks if start + size < len(text)] or [0]
    start = chance.choice(inside)
    end = max(blank for blank in blanks if blank - 1 <= max(start + size, blanks[1])) - 1
    return start, end


def changed(text: str, share: float, words: list[str], chance: random.Random) -> str:
    out = []
    for word in text.split(" "):
        kind = chance.choice("rdi") if chance.random() < share else "="
        out += {"r": [chance.choice(words)], "d": [], "i": [word, chance.choice(words)], "=": [word]}[kind]
    return " ".join(out)


Cuts = dict[int, list[tuple[int, int, int]]]  # by text: bytes cut, and the text that holds them or -1


def judge(cuts: Cuts, planted: Sequence[Planted]) -> dict[str, Any]:
    theirs, recall = 0, {}
    for share in SHARES:
        shares = []
        for one in (each for each in planted if each.share == share):
            later = max((0, 1), key=lambda side: id_of(one.texts[side]))
            start, end = one.bytes[later]
            hit = sum(max(0, min(end, b) - max(start, a)) for a, b, _holder in cuts.get(one.texts[later], ()))
            theirs += hit
            shares.append(hit / (end - start))
        recall[f"{share:.0%}"] = round(sum(shares) / len(shares), 3)
    total = sum(b - a for ranges in cuts.values() for a, b, _holder in ranges)
    return {"recall": recall, "precision": round(theirs / total, 4) if total else None}


def id_of(place: int) -> bytes:
    return document_id("bench", str(place))


def run(frame: Frame, settings: Any, texts: Sequence[str]) -> tuple[float, Cuts]:
    """All passes of a stage over two shards; MB of text a CPU second, and what is cut."""
    with tempfile.TemporaryDirectory(prefix="gristmill-bench-") as name:
        folder = Path(name)
        shards = write(folder, texts)
        began = time.process_time()
        runs: list[Path] = []
        for number, each in enumerate(frame.passes):
            before = [runs] if number else []
            calls: list[tuple[Any, ...]] = [(path, row, *before) for path, row in shards]
            if isinstance(each, OverRanges):
                calls = [(runs, *key_range(part, 2)) for part in range(2)]
            written = []
            for place, call in enumerate(calls):
                out = folder / f"{number}-{place}.run"
                several = each.work(settings, *call, out).get("files")
                written += [out] if several is None else [out.with_suffix(f".{i}") for i in range(several)]
            runs = written
        decisions = [one.decisions for path, row in shards for one in frame.apply(settings, path, row, runs)]
        seconds = time.process_time() - began
    places = {id_of(place): place for place in range(len(texts))}
    cuts: Cuts = {}
    for row in pa.concat_tables(decisions).to_pylist():
        holders = [places[holder] for holder in row.get("kept_in") or ()] or [-1] * len(row["edits"])
        ranges = [
            (edit["start"], edit["end"], held) for edit, held in zip(row["edits"], holders, strict=True)
        ]
        cuts[places[row["id"]]] = ranges
    return sum(len(text.encode()) for text in texts) / 1e6 / seconds, cuts


def write(folder: Path, texts: Sequence[str]) -> list[tuple[Path, int]]:
    half = len(texts) // 2
    shards = []
    for first, last in ((0, half), (half, len(texts))):
        rows = range(first, last)
        none = [None] * len(rows)
        origin = [{"file": "bench", "offset": row, "length": 1} for row in rows]
        columns = {
            "id": [id_of(row) for row in rows],
            "url": none,
            "source": ["bench"] * len(rows),
            "date": none,
            "text": texts[first:last],
            "language": none,
            "language_score": none,
            "origin": origin,
        }
        pq.write_table(pa.table(columns, schema=DOCUMENT), folder / f"{first}.parquet")
        shards.append((folder / f"{first}.parquet", first))
    return shards


def told(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
