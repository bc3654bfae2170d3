"""Which documents of one file of a text index hold all of several words and phrases, counted by group.

Frequent words and phrases of such are read from bits and places (`phases.indexing.index_places`), a block of
documents at a time; all others are asked of SQLite's full-text index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gristmill.pipeline.look.index_phrases import Places
from gristmill.pipeline.phases.indexing.index_file import TOKENIZER
from gristmill.pipeline.phases.indexing.index_places import BLOCK_DOCS, FREQUENT, numbers

_MAPPED_BYTES = 1 << 32  # of an index file
# Where one document in 64 or fewer holds the rarer words, SQLite looks for a phrase in these only: that is
# faster than to read all places of frequent words.
_FEW = FREQUENT * 8


@dataclass(frozen=True, slots=True)
class Part:
    """A word or phrase: as it was asked, and the words that SQLite's tokenizer makes of it."""

    asked: str
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Documents of one file that one rule removed, or that none did; `first` is the number of the file's row
    0."""

    path: str
    outlet: str
    step: str
    source: str
    first: int
    rule: str | None


def parts_of(phrases: Sequence[str]) -> list[Part]:
    """Cut words and phrases into terms as the index does: by SQLite's own tokenizer."""
    terms: list[list[str]] = [[] for _ in phrases]
    with closing(sqlite3.connect(":memory:")) as base:
        base.execute(f"CREATE VIRTUAL TABLE words USING fts5(text, {TOKENIZER})")
        base.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", enumerate(phrases))
        base.execute("CREATE VIRTUAL TABLE standing USING fts5vocab(words, instance)")
        for number, term in base.execute("SELECT doc, term FROM standing ORDER BY doc, offset"):
            terms[number].append(term)
    return [Part(phrase, tuple(found)) for phrase, found in zip(phrases, terms, strict=True)]


@contextmanager
def index_file(path: Path) -> Iterator[sqlite3.Connection]:
    """Open one file of an index for reading."""
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as base:
        base.execute(f"PRAGMA mmap_size={_MAPPED_BYTES}")
        yield base


def groups_of(base: sqlite3.Connection) -> dict[int, Group]:
    """The groups of a file by number, in the order of files and rules."""
    found = base.execute(
        "SELECT g.number, f.path, f.outlet, f.step, f.source, f.first, r.name FROM groups g"
        " JOIN files f USING (file) LEFT JOIN rules r USING (rule) ORDER BY g.file, g.rule"
    )
    return {number: Group(*facts) for number, *facts in found}


def matches(
    base: sqlite3.Connection, parts: Sequence[Part], wanted: np.ndarray, limit: int
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Count the documents that hold all parts by group, of the groups that are `wanted` (bool by group); and
    the first of them, each with its group."""
    counts = np.zeros(len(wanted), np.int64)
    first: list[tuple[int, int]] = []
    for block, holds in _holding(base, parts):
        (written,) = base.execute("SELECT groups FROM blocks WHERE block = ?", (block,)).fetchone()
        group_of = np.frombuffer(written, "<u4")
        docs = np.flatnonzero(holds[: len(group_of)])
        groups = group_of[docs]
        if not wanted.all():
            docs, groups = docs[wanted[groups]], groups[wanted[groups]]
        counts += np.bincount(groups, minlength=len(counts))
        if room := max(0, limit - len(first)):
            numbered = (docs[:room] + block * BLOCK_DOCS).tolist()
            first += zip(numbered, groups[:room].tolist(), strict=True)
    return counts, first


def _holding(base: sqlite3.Connection, parts: Sequence[Part]) -> Iterator[tuple[int, np.ndarray]]:
    """For each block that has some, which of its documents hold all parts (bool)."""
    is_frequent = _frequent(base, parts)
    words = [part.terms[0] for part in parts if len(part.terms) == 1 and is_frequent(part)]
    phrases = [part for part in parts if len(part.terms) > 1 and is_frequent(part)]
    others = [part for part in parts if not is_frequent(part)]
    (blocks,) = base.execute("SELECT count(*) FROM blocks").fetchone()
    rare: dict[int, np.ndarray] | None = None
    if others:
        found = _by_sqlite(base, others)
        if phrases and len(found) * _FEW <= blocks * BLOCK_DOCS:
            found, phrases = _by_sqlite(base, [*others, *phrases]) if len(found) else found, []
        at = np.flatnonzero(np.diff(found // BLOCK_DOCS)) + 1
        rare = {int(some[0]) // BLOCK_DOCS: some % BLOCK_DOCS for some in np.split(found, at) if len(some)}
    places = Places(base)
    for block in range(blocks) if rare is None else rare:
        holds = np.ones(BLOCK_DOCS, bool)
        if rare is not None:
            holds = np.zeros(BLOCK_DOCS, bool)
            holds[rare[block]] = True
        for word in {*words, *(term for part in phrases for term in part.terms)}:
            holds &= _bits(base, word, block)
        for part in phrases:
            if holds.any():
                holds &= places.phrase(part.terms, block)
        if holds.any():
            yield block, holds


def _frequent(base: sqlite3.Connection, parts: Sequence[Part]) -> Callable[[Part], bool]:
    known = {
        term
        for term in {term for part in parts for term in part.terms}
        if base.execute("SELECT 1 FROM frequent WHERE term = ? LIMIT 1", (term,)).fetchone()
    }
    return lambda part: bool(part.terms) and known.issuperset(part.terms)


def _by_sqlite(base: sqlite3.Connection, parts: Sequence[Part]) -> np.ndarray:
    """Documents that hold all parts, by the full-text index, in their order."""
    asked = " AND ".join(f'"{part.asked}"' for part in parts)
    rows = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid"
    (written,) = base.execute(f"SELECT group_concat(rowid) FROM ({rows})", (asked,)).fetchone()
    return numbers(written)


def _bits(base: sqlite3.Connection, term: str, block: int) -> np.ndarray:
    """Which documents of a block hold a frequent word."""
    found = base.execute("SELECT docs FROM frequent WHERE term = ? AND block = ?", (term, block)).fetchone()
    if found is None:
        return np.zeros(BLOCK_DOCS, bool)
    return np.unpackbits(np.frombuffer(found[0], np.uint8)).view(bool)
