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

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.below.cuts import cut_columns
from gristmill.dedup.below.line_keys import Lines, lines_of
from gristmill.dedup.below.piece_cuts import Chosen, cut_pieces, too_small
from gristmill.dedup.below.split import bounds_of, pieces_of
from gristmill.dedup.decisions import Applied
from gristmill.dedup.order import Numbers, scope_hashes, split_ids
from gristmill.dedup.settings.parts import PieceSettings, SpanSettings
from gristmill.dedup.sorted.radix import argsort, group_starts
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, read_range, sort_columns, write_run
from gristmill.dedup.sorted.shards import num_rows, read_batches
from gristmill.text.digests import bytes_of, digest16_rows
from gristmill.text.md5 import md5_words

PART_RECORDS = 4_000_000  # pieces per reduce task: 48 bytes each, twice while sorting
_COLUMNS = ("key_high", "key_low", "order_high", "order_low", "row", "piece")
_NOWHERE = np.uint32(0xFFFFFFFF)


def map_pieces(settings: PieceSettings, path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write the hash of every piece of a shard's documents as a sorted run, with its document's place in the
    order."""
    parts: list[Columns] = []
    row = first_row
    for table in read_batches(path, ["id", "url", "source", "text", settings.scope]):
        places = _document_order(table)
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


def _document_order(table: pa.Table) -> npt.NDArray[np.uint64]:
    """Return two words per document that order it among those that share a piece: of its URL's md5, or else
    of its id, and of its id."""
    high, low = split_ids(table["id"])
    if "url" not in table.column_names:
        return np.stack([high, low], axis=1)
    has_url = np.asarray(pc.fill_null(pc.greater(pc.binary_length(table["url"]), 0), False))
    return np.stack([np.where(has_url, md5_words(table["url"]), high), low], axis=1)


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
    places = np.flatnonzero(np.diff(bounds))
    texts = table["text"].take(pa.array(places)).combine_chunks()
    chosen = Chosen(np.append(bounds[places], len(rows)), cut.astype(np.int64), spared.astype(np.int64))
    width = settings.sentences if isinstance(settings, SpanSettings) else 1
    pieces = bounds_of(settings, texts)
    found = cut_pieces(texts, pieces, chosen, width)
    failed = too_small(settings, found, np.diff(pieces.rows) - found.num_cut)
    return cut_columns(table, places, found, failed)
