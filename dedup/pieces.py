"""Exact deduplication below the document: lines, paragraphs, and spans of sentences, over any number of
shards.

Of all occurrences of a piece, one stays: in the document with the smallest md5 of its URL (C4's rule;
documents without one go by their id), and there the first. The others are cut out of their texts; documents
that fall under a minimum are removed.

How a stage calls this; each call is one task, the tasks of one loop may run in any order:

    for shard in shards:                                                             # map
        map_pieces(settings, shard.path, shard.first_row, scratch / f"{shard.name}.keys")
    for part in range(num_parts(total_pieces, PART_RECORDS)):                        # reduce
        reduce_pieces(settings, keys, *key_range(part, parts), scratch / f"{part}.cuts")
    for shard in shards:                                                             # apply
        for applied in apply_pieces(settings, shard.path, shard.first_row, cuts):
            applied.kept, applied.removed, applied.decisions                         # Arrow tables
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.cuts import Edits, Failure, cut_documents, merge_edits, without
from gristmill.dedup.decisions import Applied
from gristmill.dedup.line_keys import Lines, lines_of
from gristmill.dedup.order import Numbers, scope_hashes
from gristmill.dedup.radix import argsort, group_starts
from gristmill.dedup.runs import Columns, SortedRun, concat, read_range, sort_columns, write_run
from gristmill.dedup.settings import PieceSettings, SpanSettings
from gristmill.dedup.shards import num_rows, read_batches
from gristmill.dedup.split import Piece, pieces_of, sentence_bounds
from gristmill.text.digests import bytes_of, digest16_rows

PART_RECORDS = 4_000_000  # pieces per reduce task: 48 bytes each, twice while sorting
_COLUMNS = ("key_high", "key_low", "order_high", "order_low", "row", "piece")
_NOWHERE = np.uint32(0xFFFFFFFF)


def map_pieces(settings: PieceSettings, path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write the hash of every piece of a shard's documents as a sorted run, with its document's place in the
    order."""
    parts: list[Columns] = []
    row = first_row
    for table in read_batches(path, ["id", "url", "source", "text", settings.scope]):
        places = np.frombuffer(b"".join(_document_order(table)), ">u8").reshape(-1, 2).astype(np.uint64)
        keys, texts, numbers = _keyed_pieces(settings, table["text"])
        if len(keys):
            scopes = scope_hashes(settings.scope, table)[texts]
            key = np.frombuffer(digest16_rows(bytes_of(scopes), keys).buffers()[1], "<u8").reshape(-1, 2)
            order = places[texts]
            rows, pieces = texts.astype(np.uint64) + np.uint64(row), numbers.astype(np.uint32)
            columns = (key[:, 0], key[:, 1], order[:, 0], order[:, 1], rows, pieces)
            parts.append(dict(zip(_COLUMNS, columns, strict=True)))
        row += len(table)
    kinds = (*(np.uint64,) * 5, np.uint32)
    none = {name: np.empty(0, kind) for name, kind in zip(_COLUMNS, kinds, strict=True)}
    whole = {name: concat([none[name], *(part[name] for part in parts)]) for name in _COLUMNS}
    write_run(out, sort_columns({name: np.ascontiguousarray(column) for name, column in whole.items()}))
    return {"documents": row - first_row, "pieces": len(whole["row"])}


def _keyed_pieces(settings: PieceSettings, texts: pa.ChunkedArray) -> Lines:
    """Return the keys of a column's pieces that are compared, with the text and the number of each."""
    if settings.unit == "line":
        return lines_of(texts)
    found = [
        (piece.key, text, number)
        for text, pieces in enumerate(pieces_of(settings, texts))
        for number, piece in enumerate(pieces)
        if piece.key
    ]
    keys = pa.array([key for key, _, _ in found], pa.large_string())
    places = (np.array([each[at] for each in found], np.int64) for at in (1, 2))
    return Lines(keys, *places)


def _document_order(table: pa.Table) -> list[bytes]:
    """Return 16 bytes per document that order it among those that share a piece."""
    urls = table["url"].to_pylist() if "url" in table.column_names else [None] * len(table)
    high = [hashlib.md5(url.encode(), usedforsecurity=False).digest()[:8] if url else None for url in urls]
    return [
        (first or value[:8]) + value[8:] for first, value in zip(high, table["id"].to_pylist(), strict=True)
    ]


def reduce_pieces(
    settings: PieceSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, int]:
    """Write which pieces to cut, by row, among those whose key lies in [low, high).

    `spared` is the occurrence that stays when it lies in the same document, so that overlapping spans do not
    cut it.
    """
    columns = read_range([SortedRun(path) for path in paths], low, high, _COLUMNS)
    by_key = argsort(columns["key_high"])
    size = np.diff(group_starts(columns["key_high"][by_key]))
    shared = by_key[np.repeat(size > 1, size)]
    columns = {name: column[shared] for name, column in columns.items()}
    order = np.lexsort(
        [columns[name] for name in ("piece", "row", "order_low", "order_high", "key_low", "key_high")]
    )
    columns = {name: column[order] for name, column in columns.items()}
    new = np.ones(len(order), bool)
    new[1:] = (columns["key_high"][1:] != columns["key_high"][:-1]) | (
        columns["key_low"][1:] != columns["key_low"][:-1]
    )
    first = np.flatnonzero(new)[np.cumsum(new) - 1]
    cut = ~new
    row, piece = columns["row"], columns["piece"]
    spared = np.where(row[first] == row, piece[first], _NOWHERE)
    write_run(out, sort_columns({"row": row[cut], "piece": piece[cut], "spared": spared[cut]}))
    return {"cut": int(cut.sum())}


def apply_pieces(
    settings: PieceSettings, path: Path, first_row: int, cuts: Sequence[Path]
) -> Iterator[Applied]:
    """Cut the repeated pieces out of a shard's texts; documents that fall under a minimum are removed with
    their whole text."""
    found = sort_columns(
        read_range(
            [SortedRun(run) for run in cuts],
            first_row,
            first_row + num_rows(path),
            ("row", "piece", "spared"),
        )
    )
    row = first_row
    for table in read_batches(path):
        low, high = np.searchsorted(found["row"], np.array([row, row + len(table)], np.uint64))
        chosen = {name: column[low:high] for name, column in found.items()}
        yield _apply(settings, table, row, chosen["row"], chosen["piece"], chosen["spared"])
        row += len(table)


def _apply(
    settings: PieceSettings,
    table: pa.Table,
    first_row: int,
    rows: Numbers,
    cut: npt.NDArray[np.uint32],
    spared: npt.NDArray[np.uint32],
) -> Applied:
    bounds = np.searchsorted(rows, np.arange(first_row, first_row + len(table) + 1).astype(np.uint64))
    edits: list[Edits] = [[] for _ in range(len(table))]
    num_cut = [0] * len(table)
    left: list[str | None] = [None] * len(table)
    failures: list[Failure | None] = [None] * len(table)
    places = np.flatnonzero(np.diff(bounds))
    texts = table["text"].take(pa.array(places))
    each = zip(places.tolist(), texts.to_pylist(), pieces_of(settings, texts), strict=True)
    for place, text, pieces in each:
        span = slice(int(bounds[place]), int(bounds[place + 1]))
        edits[place], count = _edits(settings, pieces, cut[span].tolist(), spared[span].tolist())
        num_cut[place], left[place] = count, without(text, edits[place])
        failures[place] = _failed(settings, left[place], len(pieces) - count) if count else None
    return cut_documents(table, edits, num_cut, left, failures)


def _edits(
    settings: PieceSettings, pieces: list[Piece], cut: list[int], spared: list[int]
) -> tuple[Edits, int]:
    """Return the byte ranges to delete, merged and in order, and how many pieces (for spans: sentences) they
    hold."""
    width = settings.sentences if isinstance(settings, SpanSettings) else 1
    doomed = set()
    for piece, stays in zip(cut, spared, strict=True):
        doomed |= {place for place in range(piece, piece + width) if not stays <= place < stays + width}
    if not doomed:
        return [], 0
    edits = []
    last_kept = max((place for place in range(len(pieces)) if place not in doomed), default=len(pieces))
    for place in doomed:
        # After the last piece that stays, the separator before goes too: none is left hanging at the end.
        start = pieces[last_kept].end if place == last_kept + 1 else pieces[place].start
        edits.append((start, pieces[place].next_start))
    return merge_edits(edits), len(doomed)


def _failed(settings: PieceSettings, text: str | None, num_pieces: int) -> Failure | None:
    """Return the first minimum that a cut text misses as (rule, value, bound)."""
    text = text or ""
    minima = {
        "pieces": (num_pieces, settings.min_pieces),
        "characters": (len(text), settings.min_characters),
        "words": (len(text.split()), settings.min_words),
        "sentences": (_num_sentences(text) if settings.min_sentences else 0, settings.min_sentences),
    }
    for name, (value, bound) in minima.items():
        if value < bound:
            return f"dedup.{settings.unit}.min_{name}", float(value), float(bound)
    return None


def _num_sentences(text: str) -> int:
    (bounds,) = sentence_bounds(pa.chunked_array([[text]], pa.large_string()))
    return len(bounds)
