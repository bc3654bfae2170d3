"""Write SQLite full-text indexes (FTS5) over the files of kept and removed documents, a task for each.

An index holds words and places, no texts: `docs` says for each of its rows which row of which file it is, and
the rule that removed it. Words are runs of letters and digits (unicode61), whatever their case.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from gristmill.facts import StepFacts
from gristmill.location import location
from gristmill.parquet import parquet_schema
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.stages.index import IndexSlice
from gristmill.storage import read_tables

KIND = "search-index"
_SCHEMA = """
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='unicode61 remove_diacritics 0');
CREATE TABLE files (file INTEGER PRIMARY KEY, path TEXT, outlet TEXT, step TEXT, source TEXT);
CREATE TABLE rules (rule INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE docs (doc INTEGER PRIMARY KEY, file INTEGER, row INTEGER, rule INTEGER);
"""


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file of documents; `name` is its path below the run's folder of steps."""

    path: str
    name: str
    outlet: str
    step: str
    source: str
    rows: int


def index(job: Job[IndexSlice]) -> Stage:
    """One index for each group of neighbouring files."""
    groups: list[list[IndexedFile]] = []
    room = 0
    for file in files_of(job):
        if not groups or file.rows > room:
            groups.append([])
            room = job.settings.index.documents
        groups[-1].append(file)
        room -= file.rows
    tasks = [Task(f"{number:05d}", index_files, {"files": group}) for number, group in enumerate(groups)]
    yield Phase("index", tasks)
    return StepFacts()


def files_of(job: Job[IndexSlice]) -> list[IndexedFile]:
    """What every step let go, and of each source the documents that the last step kept."""
    found = []
    for name, manifest in job.inputs.items():
        for outlet in ("documents", "removed"):
            for entry in manifest.named(outlet):
                source = entry.source or ""
                if entry.rows and (outlet == "removed" or job.holders.get(source) == name):
                    place = f"{manifest.folder.name}/{entry.path}"
                    path = str(manifest.folder / entry.path)
                    found.append(IndexedFile(path, place, outlet, name, source, entry.rows))
    return found


def index_files(task: Attempt[IndexSlice], files: Sequence[IndexedFile]) -> None:
    path = task.scratch / "index.db"
    rules: dict[str, int] = {}
    doc = 0
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA page_size=8192;" + _SCHEMA
        )
        for number, file in enumerate(files):
            row = (number, file.name, file.outlet, file.step, file.source)
            base.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", row)
            at = 0
            wanted = [name for name in ("text", "rule") if name in parquet_schema(location(file.path)).names]
            for table in read_tables(location(file.path), wanted):
                texts = table["text"].to_pylist()
                named = table["rule"].to_pylist() if "rule" in wanted else [None] * len(texts)
                ids = [None if name is None else rules.setdefault(name, len(rules)) for name in named]
                base.executemany(
                    "INSERT INTO words(rowid, text) VALUES (?, ?)",
                    ((doc + place, text or "") for place, text in enumerate(texts)),
                )
                base.executemany(
                    "INSERT INTO docs VALUES (?, ?, ?, ?)",
                    ((doc + place, number, at + place, rule) for place, rule in enumerate(ids)),
                )
                doc += len(texts)
                at += len(texts)
                task.tell(doc)
        base.executemany(
            "INSERT INTO rules VALUES (?, ?)", [(number, name) for name, number in rules.items()]
        )
        base.execute("INSERT INTO words(words) VALUES ('optimize')")
        base.commit()
    task.publish(path, KIND, doc)
