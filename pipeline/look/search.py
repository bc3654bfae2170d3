"""Search what a run kept and removed by its full-text index: counts by source and rule, and the documents."""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.pipeline.look.document.lookup import read_row
from gristmill.pipeline.phases.text_index import KIND
from gristmill.pipeline.run.folder import finished_steps

_THREADS = 8
_MAPPED_BYTES = 1 << 32  # of an index file
_PHRASE = re.compile(r'"([^"]+)"|(\S+)')
_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that matches: a row of a file of a step."""

    path: Path
    row: int
    outlet: str
    step: str
    source: str
    rule: str | None

    def read(self, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
        return read_row(self.path, self.row, columns)


@dataclass(slots=True)
class Matches:
    """How many documents match, by outlet, source and rule, and the first of them."""

    by_outlet: Counter[str] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    hits: list[Hit] = field(default_factory=list)


def index_paths(out: Path) -> list[Path]:
    """The index files of a run; none where it wrote no index."""
    manifest = finished_steps(out).get("index")
    return manifest.paths(KIND) if manifest else []


def search(
    out: Path, asked: str, limit: int, *, outlet: str | None = None, source: str | None = None
) -> Matches:
    """Find documents that hold all words, or the phrases in double quotes.

    Raises UsageError where the run has no index or nothing was asked.
    """
    paths = index_paths(out)
    if not paths:
        raise UsageError(
            f"`{out}` has no text index",
            hint="write one with `index: text` in its recipe, or `--set index=text`: only that step is run",
        )
    query = fts_query(asked)
    found = Matches()
    with ThreadPoolExecutor(_THREADS) as threads:
        parts = threads.map(lambda path: _ask(path, out, query, limit, outlet, source), paths)
        for counts, hits in parts:
            for (kind, of, rule), number in counts:
                found.by_outlet[kind] += number
                found.by_source[of] += number
                if rule is not None:
                    found.by_rule[rule] += number
            found.hits += hits[: max(0, limit - len(found.hits))]
    return found


def holding(out: Path, text: str, *, outlet: str | None = None, limit: int = 1000) -> Iterator[Hit]:
    """Documents that hold a text as it stands, found by its words; nothing where the index cannot tell."""
    words = re.findall(r"\w+", text)
    if not words or not index_paths(out):
        return
    phrase = '"' + " ".join(words) + '"'
    for hit in search(out, phrase, limit, outlet=outlet).hits:
        if text in (hit.read(("text",)).get("text") or ""):
            yield hit


def fts_query(asked: str) -> str:
    """Spell what was asked for SQLite: every word and phrase must be there; no operator is obeyed."""
    parts = [" ".join(re.findall(r"\w+", phrase or word)) for phrase, word in _PHRASE.findall(asked)]
    parts = [part for part in parts if part]
    if not parts:
        raise UsageError(f"`{asked}` holds no word to search for")
    return " AND ".join(f'"{part}"' for part in parts)


def excerpt(text: str, asked: str) -> str:
    """What stands around the first word or phrase that was asked for."""
    words = [phrase or word for phrase, word in _PHRASE.findall(asked)]
    at = min((place for word in words if (place := text.lower().find(word.lower())) >= 0), default=0)
    start = max(0, at - _EXCERPT // 3)
    return (
        ("…" if start else "")
        + text[start : start + _EXCERPT]
        + ("…" if start + _EXCERPT < len(text) else "")
    )


def _ask(
    path: Path, out: Path, query: str, limit: int, outlet: str | None, source: str | None
) -> tuple[list[tuple[tuple[str, str, str | None], int]], list[Hit]]:
    """Counts and first hits of one index file.

    Matches are counted by the numbers of files and rules: to join their names to each took twice as long.
    """
    address = f"file:{os.fspath(path)}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as base:
        base.execute(f"PRAGMA mmap_size={_MAPPED_BYTES}")
        rules: dict[int | None, str | None] = dict(base.execute("SELECT rule, name FROM rules"))
        files = {
            number: facts
            for number, *facts in base.execute("SELECT file, path, outlet, step, source FROM files")
            if outlet in (None, facts[1]) and source in (None, facts[3])
        }
        numbers = ",".join(map(str, files))
        joined = "FROM words JOIN docs d ON d.doc = words.rowid WHERE words MATCH ?"
        joined += f" AND d.file IN ({numbers})"
        counted = base.execute(f"SELECT d.file, d.rule, count(*) {joined} GROUP BY 1, 2", (query,)).fetchall()
        rows = base.execute(
            f"SELECT d.file, d.row, d.rule {joined} ORDER BY words.rowid LIMIT ?", (query, limit)
        ).fetchall()
    counts = Counter[tuple[str, str, str | None]]()
    for file, rule, number in counted:
        _, kind, _, of = files[file]
        counts[kind, of, rules.get(rule)] += number
    hits = []
    for file, row, rule in rows:
        name, kind, step, of = files[file]
        hits.append(Hit(out / "steps" / name, row, kind, step, of, rules.get(rule)))
    return list(counts.items()), hits
