"""One file of a text index: SQLite's full-text index (FTS5), and which document stands where.

It holds words and places, no texts. Documents are numbered from 0 in the order of files and rows;
`files.first` is the number of a file's row 0. Documents of one file that one rule removed, or that none did,
are a `group`. `blocks` say for each document of 16,384 its group and how many units of 16 words it takes
(`phases.indexing.index_places`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gristmill.pipeline.phases.indexing.index_places import (
    BLOCK_DOCS,
    PLACES_SCHEMA,
    units_of,
    write_frequent,
)

TOKENIZER = "tokenize='unicode61 remove_diacritics 0'"  # runs of letters and digits, whatever their case
_SCHEMA = f"""
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA page_size=8192;
CREATE VIRTUAL TABLE words USING fts5(text, content='', {TOKENIZER});
CREATE TABLE files (file INTEGER PRIMARY KEY, path TEXT, outlet TEXT, step TEXT, source TEXT, first INTEGER);
CREATE TABLE rules (rule INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE groups (number INTEGER PRIMARY KEY, file INTEGER, rule INTEGER);
CREATE TABLE blocks (block INTEGER PRIMARY KEY, groups BLOB, units BLOB);
{PLACES_SCHEMA}
"""


class IndexWriter:
    """An index being written: `add_file`, then the documents of that file by `add`, and at last `close`."""

    def __init__(self, path: Path) -> None:
        self.num_documents = 0
        self._base = sqlite3.connect(path)
        self._base.executescript(_SCHEMA)
        self._file = -1
        self._rules: dict[str, int] = {}
        self._groups: dict[tuple[int, int | None], int] = {}
        self._group_of: list[np.ndarray] = [np.empty(0, "<u4")]

    def add_file(self, path: str, outlet: str, step: str, source: str) -> None:
        self._file += 1
        row = (self._file, path, outlet, step, source, self.num_documents)
        self._base.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", row)

    def add(self, texts: Sequence[str | None], rules: Sequence[str | None]) -> None:
        """Append documents, each with the rule that removed it, None for one that is kept."""
        self._base.executemany(
            "INSERT INTO words(rowid, text) VALUES (?, ?)",
            ((number, text or "") for number, text in enumerate(texts, self.num_documents)),
        )
        self._group_of.append(np.fromiter(map(self._group, rules), "<u4", len(rules)))
        self.num_documents += len(texts)

    def _group(self, rule: str | None) -> int:
        number = None if rule is None else self._rules.setdefault(rule, len(self._rules))
        return self._groups.setdefault((self._file, number), len(self._groups))

    def close(self) -> None:
        """Write what counts and places are read from, and close the file."""
        rules = [(number, name) for name, number in self._rules.items()]
        self._base.executemany("INSERT INTO rules VALUES (?, ?)", rules)
        groups = [(number, *of) for of, number in self._groups.items()]
        self._base.executemany("INSERT INTO groups VALUES (?, ?, ?)", groups)
        self._base.execute("INSERT INTO words(words) VALUES ('optimize')")
        group_of, units = np.concatenate(self._group_of), units_of(self._base)
        self._base.executemany(
            "INSERT INTO blocks VALUES (?, ?, ?)",
            (
                (block, group_of[start : start + BLOCK_DOCS].data, units[start : start + BLOCK_DOCS].data)
                for block, start in enumerate(range(0, self.num_documents, BLOCK_DOCS))
            ),
        )
        write_frequent(self._base, units)
        self._base.commit()
        self._base.close()
