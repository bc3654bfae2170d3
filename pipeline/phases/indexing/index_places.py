"""Words that at least one document in 8 holds: which documents these are, and every place, as arrays.

SQLite reads a frequent word's documents one by one: 50 to 100 ns each, more than 200 ns in a phrase. So a
text index keeps for these words, for each block of 16,384 documents, a bit a document and the word's places;
all is read from the full-text index itself, so that both say the same.

The words of a block's documents are laid out one after another, each document from a multiple of 16 on and
with a place free behind it, so that no phrase reaches into the next. The places of a word that is one in 32
are bits. Of others they are kept as their lowest byte (or two, whichever takes less), and how many of them
there are in each run of 256 (or 65,536): read back three times as fast as gaps are added up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

FREQUENT = 8  # a word is frequent that one document in so many holds
BLOCK_DOCS = 1 << 14
UNIT_BITS = 4  # documents begin at multiples of 16 places
DENSE = 32  # the places of a word that stands at one place in so many are kept as bits
PLACES_SCHEMA = """
CREATE TABLE frequent (
    term TEXT, block INTEGER, docs BLOB, low_bytes INTEGER, low BLOB, in_runs BLOB, PRIMARY KEY (term, block)
);
"""
_AT_ONCE = 1 << 22  # places read at once: 100 MB


def units_of(base: sqlite3.Connection) -> np.ndarray:
    """How many units of 16 places each document takes (u4), by the sizes that SQLite keeps."""
    sizes = base.execute("SELECT sz FROM words_docsize ORDER BY id")
    lengths = np.fromiter((_varint(size) for (size,) in sizes), np.int64)
    return ((lengths >> UNIT_BITS) + 1).astype("<u4")


def _varint(written: bytes) -> int:
    """A number as SQLite writes it: 7 bits a byte, the highest first."""
    number = 0
    for byte in written:
        number = number << 7 | byte & 127
    return number


def write_frequent(base: sqlite3.Connection, units: np.ndarray) -> None:
    """Read the frequent words out of the full-text index and write their documents and places."""
    ends = np.cumsum(units, dtype=np.int64)
    starts = ends - units
    starts = (starts - np.repeat(starts[::BLOCK_DOCS], BLOCK_DOCS)[: len(starts)]) << UNIT_BITS
    base.execute("CREATE VIRTUAL TABLE temp.held USING fts5vocab(main, words, row)")
    base.execute("CREATE VIRTUAL TABLE temp.standing USING fts5vocab(main, words, instance)")
    found = base.execute("SELECT term FROM temp.held WHERE doc * ? >= ?", (FREQUENT, len(units)))
    for (term,) in found.fetchall():
        for block, docs, offsets in _by_block(_standing(base, term)):
            bits = np.zeros(BLOCK_DOCS, bool)
            bits[docs % BLOCK_DOCS] = True
            row = (term, block, np.packbits(bits).data, *shut(starts[docs] + offsets))
            base.execute("INSERT INTO frequent VALUES (?, ?, ?, ?, ?, ?)", row)
    base.execute("DROP TABLE temp.held")
    base.execute("DROP TABLE temp.standing")


def numbers(written: str | None) -> np.ndarray:
    """The numbers that `group_concat` wrote: the fastest way of many numbers out of SQLite."""
    return np.fromstring(written or "", np.int64, sep=",")


def shut(places: np.ndarray) -> tuple[int, memoryview, memoryview]:
    """Ascending places by their lowest bytes: how many of these, the bytes, and the places in each run; or 0,
    bits from the lowest on, and nothing."""
    if len(places) * DENSE > places[-1]:
        stands = np.zeros(places[-1] + 1, bool)
        stands[places] = True
        return 0, np.packbits(stands, bitorder="little").data, memoryview(b"")
    written = []
    for num_bytes in (1, 2):
        low = places.astype(f"<u{num_bytes}")  # the bits above are dropped
        in_runs = np.bincount(places >> 8 * num_bytes).astype(f"<u{2 * num_bytes}")
        written.append((low.nbytes + in_runs.nbytes, num_bytes, low.data, in_runs.data))
    return min(written, key=lambda one: one[0])[1:]


def opened(low_bytes: int, low: bytes, in_runs: bytes) -> np.ndarray:
    """The places that `shut` wrote by their lowest bytes."""
    counts = np.frombuffer(in_runs, f"<u{2 * low_bytes}")
    places = np.repeat(np.arange(len(counts)) << 8 * low_bytes, counts)
    places += np.frombuffer(low, f"<u{low_bytes}")
    return places


def _standing(base: sqlite3.Connection, term: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where a word stands: numbers of documents, and how many words of the document are before it."""
    some = "SELECT doc, offset FROM temp.standing WHERE term = ? LIMIT ? OFFSET ?"
    asked = f"SELECT count(*), group_concat(doc), group_concat(offset) FROM ({some})"
    start, found = 0, _AT_ONCE
    while found == _AT_ONCE:
        found, docs, offsets = base.execute(asked, (term, _AT_ONCE, start)).fetchone()
        start += found
        yield numbers(docs), numbers(offsets)


def _by_block(
    parts: Iterator[tuple[np.ndarray, np.ndarray]],
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The same, block by block; blocks without the word are left out."""
    docs = offsets = np.empty(0, np.int64)
    for more_docs, more_offsets in parts:
        docs, offsets = np.concatenate([docs, more_docs]), np.concatenate([offsets, more_offsets])
        whole = np.searchsorted(docs, docs[-1] // BLOCK_DOCS * BLOCK_DOCS) if len(docs) else 0
        yield from _cut(docs[:whole], offsets[:whole])
        docs, offsets = docs[whole:], offsets[whole:]
    yield from _cut(docs, offsets)


def _cut(docs: np.ndarray, offsets: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    at = np.flatnonzero(np.diff(docs // BLOCK_DOCS)) + 1
    for some, before in zip(np.split(docs, at), np.split(offsets, at), strict=True):
        if len(some):
            yield int(some[0]) // BLOCK_DOCS, some, before
