"""How fast is a search of a run's text index? Words from rare to in every document, phrases, all of several.

    python benchmarks/search.py [--quick] [--json] [--save] [--documents 10000000]

Documents of 100 words drawn from a Zipf distribution (200,000 words, exponent 1.05), a third of them
removed, are indexed as `index: text` writes them, 250,000 to a file, and asked by the function of the verb
`search`. Two files are made; more documents are copies of these files, each read by itself. The peer is the
same full-text index without what is kept of frequent words: every match joined to its file and rule and
counted by SQL, asked in turn with ours on as many threads; both must count the same. Beside it stands what a
search was before there was an index: the texts scanned for a rare word, here from memory, once for each copy.
`seconds` is what a user waits, files being asked side by side on all cores, best of three; `cpu_seconds` is
what all cores spend.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.look import search as searching
from gristmill.pipeline.look.index_matches import index_file
from gristmill.pipeline.phases.indexing.index_file import IndexWriter

RESULT = Path(__file__).resolve().parent / "results" / "search.json"
PER_FILE, KEPT, WORDS, VOCABULARY, MADE_FILES = 250_000, 165_000, 100, 200_000, 2
THREADS = 8
QUERIES = {
    "rare word": "w150000",
    "word of 1 in 300 documents": "w2000",
    "word of 1 in 7": "w50",
    "word of all": "w0",
    "phrase of two such": '"w0 w1"',
    "phrase of three such": '"w0 w1 w2"',
    "phrase of one such and one of 1 in 10": '"w0 w70"',
    "all of three such": "w0 w3 w9",
    "rare word and phrase of two such": 'w20000 "w0 w1"',
}
JOINED = "SELECT d.file, d.rule, count(*) FROM words JOIN docs d ON d.doc = words.rowid WHERE words MATCH ?"


def write_index(path: Path, draw: np.random.Generator, chances: np.ndarray) -> list[str]:
    """Write one index file, and beside it the table that the peer joins; return the texts."""
    names = np.array([f"w{number}" for number in range(VOCABULARY)])
    texts: list[str] = []
    index = IndexWriter(path)
    for outlet, number in (("documents", KEPT), ("removed", PER_FILE - KEPT)):
        index.add_file(outlet, outlet, "filter/web", "web")
        for _ in range(0, number, 5000):
            drawn = names[draw.choice(VOCABULARY, size=(5000, WORDS), p=chances)]
            some = [" ".join(row) for row in drawn]
            index.add(some, [None if outlet == "documents" else "gopher.words"] * len(some))
            texts += some
    index.close()
    base = sqlite3.connect(beside(path))
    base.execute("CREATE TABLE docs (doc INTEGER PRIMARY KEY, file INTEGER, row INTEGER, rule INTEGER)")
    rows = ((row, 0, row, None) if row < KEPT else (row, 1, row - KEPT, 0) for row in range(PER_FILE))
    base.executemany("INSERT INTO docs VALUES (?, ?, ?, ?)", rows)
    base.commit()
    base.close()
    return texts


def beside(path: Path) -> Path:
    return path.with_suffix(".docs")


def joined(paths: list[Path], query: str) -> Counter[str]:
    """The peer: documents that match by outlet, every match joined and grouped by SQL."""
    asked = " AND ".join(f'"{part}"' for part in searching.phrases_of(query))

    def ask(path: Path) -> list[tuple[int, int | None, int]]:
        with index_file(path) as base:
            base.execute("ATTACH ? AS beside", (f"file:{beside(path)}?mode=ro&immutable=1",))
            rows = base.execute(f"{JOINED} AND d.file IN (0, 1) GROUP BY 1, 2", (asked,)).fetchall()
            first = "SELECT d.file, d.row, d.rule FROM words JOIN docs d ON d.doc = words.rowid"
            base.execute(f"{first} WHERE words MATCH ? ORDER BY words.rowid LIMIT 10", (asked,)).fetchall()
            return rows

    found = Counter[str]()
    with ThreadPoolExecutor(THREADS) as threads:
        for rows in threads.map(ask, paths):
            for file, _, number in rows:
                found["removed" if file else "documents"] += number
    return found


def timed(work: Callable[[], Counter[str]], before: dict[str, Any]) -> dict[str, Any]:
    """Run once more: what is found, and the least of each time so far."""
    began, waited = time.process_time(), time.perf_counter()
    found = work()
    took = {"seconds": time.perf_counter() - waited, "cpu_seconds": time.process_time() - began}
    least = {name: round(min(seconds, before.get(name, seconds)), 4) for name, seconds in took.items()}
    return {"matches": sum(found.values()), **least}


def measure(folder: Path, num_files: int) -> dict[str, Any]:
    draw = np.random.default_rng(1)
    chances = 1 / np.arange(1, VOCABULARY + 1) ** 1.05
    chances /= chances.sum()
    paths = [folder / f"{number:05d}.db" for number in range(num_files)]
    made = paths[:MADE_FILES]
    began = time.process_time()
    texts = [pa.array(write_index(path, draw, chances), pa.large_string()) for path in made]
    print(f"{len(made)} files in {time.process_time() - began:.1f} s of CPU", file=sys.stderr)
    for number, path in enumerate(paths[MADE_FILES:]):
        shutil.copyfile(made[number % MADE_FILES], path)
        shutil.copyfile(beside(made[number % MADE_FILES]), beside(path))
    found: dict[str, Any] = {
        "documents": num_files * PER_FILE,
        "of_them_in_copies": max(0, num_files - MADE_FILES) * PER_FILE,
        "index_bytes": sum(path.stat().st_size for path in paths),
    }
    with mock.patch.object(searching, "index_paths", lambda out: paths):
        for name, query in QUERIES.items():
            ours: dict[str, Any] = {}
            theirs: dict[str, Any] = {}
            for _ in range(3):
                ours = timed(lambda query=query: searching.search(folder, query, 10).by_outlet, ours)
                theirs = timed(lambda query=query: joined(paths, query), theirs)
            if ours["matches"] != theirs.pop("matches"):
                raise SystemExit(f"`{query}` is counted in two ways")
            found[name] = {**ours, "joined_and_grouped_by_sql": theirs}
            print(name, found[name], file=sys.stderr, flush=True)
    began = time.process_time()
    for some in texts:
        pc.sum(pc.match_substring(some, "w150000"))
    scanned = (time.process_time() - began) * num_files / len(made)
    ours = max(found[name]["seconds"] for name in QUERIES)
    theirs = max(found[name]["joined_and_grouped_by_sql"]["seconds"] for name in QUERIES)
    peer = "matches joined and grouped by SQL"
    return {
        "unit": "seconds for the slowest of these questions",
        "ours": ours,
        "peers": {peer: theirs},
        "ratio": {peer: round(theirs / ours, 2)},
        "texts_scanned_in_memory_cpu_seconds": round(scanned, 3),
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="keep the result beside those of other benches")
    parser.add_argument("--documents", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), 1 if options.quick else max(1, options.documents // PER_FILE))
    line = {
        "what": "a search of a run's text index",
        **found,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {
            "sqlite": sqlite3.sqlite_version,
            "pyarrow": importlib.metadata.version("pyarrow"),
            "python": platform.python_version(),
        },
        "command": f"python benchmarks/search.py --documents {options.documents}",
    }
    if options.save:
        RESULT.write_text(json.dumps(line, indent=1) + "\n")
    print(json.dumps(line) if options.json else json.dumps(line, indent=1))


if __name__ == "__main__":
    main()
