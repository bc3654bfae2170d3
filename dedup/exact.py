"""Exact duplicates of documents, by normalised text or normalised URL, over any number of shards.

How a stage calls this. Rows are dense numbers in the order of the input manifest; every call below is one
task:

    for shard in shards:                                                             # map
        map_exact(settings, shard.path, shard.first_row, scratch / f"{shard.name}.keys")
    for part in range(num_parts(total_documents, PART_RECORDS)):                     # reduce
        reduce_exact(settings, scratch.glob("*.keys"), *key_range(part, parts), scratch / f"{part}.decisions")
    for shard in shards:                                                             # apply
        for applied in apply_exact(settings, shard.path, shard.first_row, [*scratch.glob("*.decisions")]):
            applied.kept, applied.removed, applied.decisions                         # Arrow tables
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.decisions import (
    Applied,
    apply_decisions,
    cluster_records,
    largest_clusters,
    write_decisions,
)
from gristmill.dedup.order import Numbers, columns_needed, member_columns
from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.sorted.radix import argsort, group_starts
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, read_range, sort_columns, write_run
from gristmill.dedup.sorted.shards import num_rows, read_batches
from gristmill.text.digests import bytes_of, digest16_rows
from gristmill.text.normal import normal_form, words_only
from gristmill.text.squeeze import squeeze
from gristmill.urls import normalise_url

PART_RECORDS = 4_000_000  # documents per reduce task: 72 bytes each, twice while sorting
_MEMBER = ("row", "rank", "id_high", "id_low", "source", "snapshot")
_COLUMNS = ("key_high", "key_low", *_MEMBER)


def normalise_text(text: str, how: str) -> str:
    """Reduce a text to what exact deduplication compares; see `ExactSettings.normalise`."""
    if how == "none":
        return text
    text = normal_form(text, "NFC")
    if how == "letters":
        text = words_only(normal_form(text.casefold(), "NFC"), " ")
    return " ".join(text.split())


def map_exact(settings: ExactSettings, path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write a shard's keys as a sorted run; documents without text (or without URL) have none and are
    kept."""
    parts: list[Columns] = []
    row = first_row
    for table in read_batches(path, columns_needed(settings)):
        members = member_columns(settings, table)
        members["row"] = np.arange(row, row + len(table), dtype=np.uint64)
        row += len(table)
        valid, high, low = _keys(settings, table[settings.key], members["scope"])
        parts.append({"key_high": high, "key_low": low, **{name: members[name][valid] for name in _MEMBER}})
    columns = sort_columns({name: concat([part[name] for part in parts]) for name in _COLUMNS})
    write_run(out, columns)
    return {"documents": row - first_row, "keys": len(columns["row"])}


def _keys(
    settings: ExactSettings, values: pa.ChunkedArray, scopes: Numbers
) -> tuple[npt.NDArray[np.bool_], Numbers, Numbers]:
    """Hash the normalised values to 128 bits each, within their scope; nothing (or nothing left) has no
    key."""
    reduced, odd = _reduced(settings, values)
    valid, halves = _digests(reduced, scopes)
    if len(odd):
        texts = values.take(pa.array(odd)).to_pylist()
        careful = pa.array([normalise_text(text, settings.normalise) for text in texts], pa.large_string())
        valid[odd], halves[odd] = _digests(careful, scopes[odd])
    high, low = halves[valid].T
    return valid, np.ascontiguousarray(high), np.ascontiguousarray(low)


def _digests(values: pa.Array, scopes: Numbers) -> tuple[npt.NDArray[np.bool_], Numbers]:
    """Return which values are something, and the halves of each one's digest within its scope."""
    if not len(values):
        return np.empty(0, bool), np.empty((0, 2), np.uint64)
    digests = digest16_rows(bytes_of(scopes), values)
    halves = np.frombuffer(digests.buffers()[1], "<u8").reshape(-1, 2).astype(np.uint64)
    return pc.greater(pc.binary_length(values), 0).to_numpy(zero_copy_only=False), halves


def _reduced(
    settings: ExactSettings, values: pa.ChunkedArray
) -> tuple[pa.LargeStringArray, npt.NDArray[np.int64]]:
    """Return what is compared of each value by kernels, and which rows need `normalise_text` instead."""
    none = np.empty(0, np.int64)
    if settings.key == "url":
        urls = [normalise_url(value or "") for value in values.to_pylist()]
        return pa.array(urls, pa.large_string()), none
    if settings.normalise == "none":
        return pc.fill_null(values, "").combine_chunks(), none
    squeezed, odd = squeeze(values, letters=settings.normalise == "letters")
    return squeezed, np.flatnonzero(odd)


def reduce_exact(
    settings: ExactSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, Any]:
    """Decide who survives among the documents whose key lies in [low, high)."""
    columns = read_range([SortedRun(path) for path in paths], low, high, _COLUMNS)
    by_key = argsort(columns["key_high"])
    size = np.diff(group_starts(columns["key_high"][by_key]))
    shared = by_key[np.repeat(size > 1, size)]  # most documents are alone with their key
    columns = {name: column[shared] for name, column in columns.items()}
    order = np.lexsort(
        [columns[name] for name in ("row", "id_low", "id_high", "rank", "key_low", "key_high")]
    )
    columns = {name: column[order] for name, column in columns.items()}
    starts = _group_starts_128(columns["key_high"], columns["key_low"])
    size = np.diff(starts)
    keep = np.repeat(size > 1, size)  # equal in the first 64 bits only: no duplicates
    columns = {name: column[keep] for name, column in columns.items()}
    size = size[size > 1]
    cluster = np.repeat(np.arange(len(size)), size)
    survivor = np.repeat(np.cumsum(size) - size, size)
    records = cluster_records(columns, cluster, survivor, None)
    write_decisions(out, records)
    return {
        "clusters": len(size),
        "removed": int(size.sum()) - len(size),
        "largest": largest_clusters(records),
    }


def _group_starts_128(high: Numbers, low: Numbers) -> npt.NDArray[np.int64]:
    if len(high) == 0:
        return np.zeros(1, np.int64)
    new = np.flatnonzero((high[1:] != high[:-1]) | (low[1:] != low[:-1])) + 1
    return np.concatenate([[0], new, [len(high)]])


def apply_exact(
    settings: ExactSettings, path: Path, first_row: int, decisions: Sequence[Path]
) -> Iterator[Applied]:
    """Split a shard into kept and removed documents; `mark` mode removes none."""
    rule = "dedup.exact" if settings.key == "text" else "dedup.url"
    batches = read_batches(path)
    yield from apply_decisions(
        decisions, first_row, num_rows(path), batches, rule=rule, bound=None, drop=settings.mode == "drop"
    )
