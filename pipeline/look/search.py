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
    """Counts and first hits of one index file."""
    narrowed = "".join(
        f" AND f.{name} = :{name}" for name, value in (("outlet", outlet), ("source", source)) if value
    )
    given = {"query": query, "outlet": outlet, "source": source, "limit": limit}
    joined = (
        "FROM words JOIN docs d ON d.doc = words.rowid JOIN files f ON f.file = d.file"
        f" LEFT JOIN rules r ON r.rule = d.rule WHERE words MATCH :query{narrowed}"
    )
    address = f"file:{os.fspath(path)}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as base:
        counted = base.execute(
            f"SELECT f.outlet, f.source, r.name, count(*) {joined} GROUP BY 1, 2, 3", given
        ).fetchall()
        rows = base.execute(
            f"SELECT f.path, d.row, f.outlet, f.step, f.source, r.name {joined}"
            " ORDER BY words.rowid LIMIT :limit",
            given,
        ).fetchall()
    counts = [((kind, of, rule), number) for kind, of, rule, number in counted]
    return counts, [Hit(out / "steps" / name, *rest) for name, *rest in rows]
