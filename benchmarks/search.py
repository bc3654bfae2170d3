"""How fast is a search of a run's text index? Words from rare to in every document, phrases, all of several.

    python benchmarks/search.py [--quick] [--json] [--save] [--documents 10000000]

Documents of 100 words drawn from a Zipf distribution (200,000 words, exponent 1.05), a third of them
removed, are indexed as `index: text` writes them, 250,000 to a file, and asked by the function of the verb
`search`. Two files are made; more documents are copies of these files, each read by itself. The peer is what
a search was before there was an index: the texts scanned for the word, here from memory, once for each copy.
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
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.look import search as searching
from gristmill.pipeline.phases.text_index import _SCHEMA

RESULT = Path(__file__).resolve().parent / "results" / "search.json"
PER_FILE, WORDS, VOCABULARY, MADE_FILES = 250_000, 100, 200_000, 2
QUERIES = {
    "rare word": "w150000",
    "word of 1 in 300 documents": "w2000",
    "word of 1 in 7": "w50",
    "word of all": "w0",
    "phrase of two such": '"w0 w1"',
    "all of three such": "w0 w3 w9",
}


def write_index(path: Path, draw: np.random.Generator, chances: np.ndarray) -> list[str]:
    """Write one index file; return its texts."""
    names = np.array([f"w{number}" for number in range(VOCABULARY)])
    texts = []
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA page_size=8192;" + _SCHEMA
        )
        for number, outlet in enumerate(("documents", "removed")):
            base.execute("INSERT INTO files VALUES (?, ?, ?, 'filter/web', 'web')", (number, outlet, outlet))
        base.execute("INSERT INTO rules VALUES (0, 'gopher.words')")
        for start in range(0, PER_FILE, 5000):
            drawn = names[draw.choice(VOCABULARY, size=(5000, WORDS), p=chances)]
            some = [" ".join(row) for row in drawn]
            rows = range(start, start + len(some))
            base.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", zip(rows, some, strict=True))
            base.executemany(
                "INSERT INTO docs VALUES (?, ?, ?, ?)",
                ((row, int(row % 3 == 0), row, 0 if row % 3 == 0 else None) for row in rows),
            )
            texts += some
        base.execute("INSERT INTO words(words) VALUES ('optimize')")
        base.commit()
    return texts


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
    found: dict[str, Any] = {
        "documents": num_files * PER_FILE,
        "of_them_in_copies": max(0, num_files - MADE_FILES) * PER_FILE,
        "index_bytes": sum(path.stat().st_size for path in paths),
    }
    with mock.patch.object(searching, "index_paths", lambda out: paths):
        for name, query in QUERIES.items():
            rounds = []
            for _ in range(3):
                began, waited = time.process_time(), time.perf_counter()
                matches = searching.search(folder, query, 10)
                rounds.append((time.perf_counter() - waited, time.process_time() - began))
            found[name] = {
                "matches": sum(matches.by_outlet.values()),
                "seconds": round(min(wall for wall, _ in rounds), 3),
                "cpu_seconds": round(min(cpu for _, cpu in rounds), 4),
            }
    began = time.process_time()
    for some in texts:
        pc.sum(pc.match_substring(some, "w150000"))
    scanned = (time.process_time() - began) * num_files / len(made)
    ours = found["rare word"]["cpu_seconds"]
    return {
        "unit": "CPU seconds for a rare word",
        "ours": ours,
        "peers": {"texts scanned in memory": round(scanned, 3)},
        "ratio": {"texts scanned in memory": round(ours / scanned, 4)},
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
