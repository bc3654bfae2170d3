"""Held-out documents that are contained in others: most of their word n-grams lie in one document.

Near-duplicates are held out together, but likeness by Jaccard misses a short text inside a long one: a quote,
a boilerplate page, an item of a list. What counts here is containment, |A and B| / |A| for a held-out A
(Broder 1997). An n-gram that more than `MOST` held-out documents have says nothing of any: it counts neither
as shared nor in all.

How a stage calls this: tasks over shards, over key ranges, one alone, over shards again, one alone:

    index_shard(settings, split, path, run, documents)
    merge_part(runs, first_items, low, high, run, common)
    sum_sizes(documents, common, sizes, filter)
    probe_shard(settings, split, path, first_item, index, out)
    targets, found = decide(documents, probed)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.arrays import read_array, write_array
from gristmill.dedup.near.shingles import ngrams
from gristmill.dedup.settings.against import HeldoutSettings
from gristmill.dedup.sorted.radix import argsort, group_starts
from gristmill.dedup.sorted.runs import SortedRun, concat, read_range, sort_columns, write_run
from gristmill.dedup.sorted.shards import read_batches
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import ParquetWriter, cut_by_bytes
from gristmill.heldout import UNIT_COLUMN, is_heldout, units
from gristmill.text.cores import cores_of

MOST = 256
PART_RECORDS = 16_000_000  # n-grams that one merge holds
_BATCH_BYTES = 8 << 20
_READ = ("id", "source", "text", UNIT_COLUMN)
_ID = pa.binary(16)

# Held-out documents in their order, which numbers them; and what contains one of them.
HELDOUT = pa.schema([("id", _ID), ("unit", _ID), ("source", pa.string()), ("num_ngrams", pa.uint32())])
CONTAINERS = pa.schema(
    [("item", pa.uint32()), ("share", pa.float64()), ("id", _ID), ("unit", _ID), ("source", pa.string()),
     ("trained", pa.bool_())]
)  # fmt: skip
FOUND = pa.schema(
    [("id", _ID), ("source", pa.string()), ("share", pa.float64()), ("within", _ID),
     ("within_source", pa.string()), ("within_heldout", pa.bool_())]
)  # fmt: skip
TARGETS = pa.schema([("unit", _ID), ("target", _ID)])


@dataclass(frozen=True, slots=True)
class Split:
    """What decides which documents are held out."""

    seed: int
    fraction: float

    def held(self, units: pa.Array) -> npt.NDArray[np.bool_]:
        return is_heldout(self.seed, self.fraction, units)


def index_shard(settings: HeldoutSettings, split: Split, path: Path, run: Path, documents: Path) -> int:
    """Write the n-grams of a shard's held-out documents as a sorted run, and these documents; return how many
    n-grams they are."""
    keys: list[npt.NDArray[np.uint64]] = []
    items: list[npt.NDArray[np.uint32]] = []
    with ParquetWriter(documents, HELDOUT) as writer:
        for batch in _batches(path):
            unit = units(batch)
            held = pa.array(split.held(unit))
            batch, unit = batch.filter(held), unit.filter(held)
            doc, key = _distinct(batch["text"], settings.ngram)
            sizes = np.bincount(doc, minlength=batch.num_rows)
            keys.append(key)
            items.append((doc + writer.num_rows).astype(np.uint32))
            columns = [batch["id"], unit, batch["source"], pa.array(sizes, pa.uint32())]
            writer.write(pa.table(columns, schema=HELDOUT))
    joined = {"key": concat(keys), "item": concat(items).astype(np.uint32)}
    write_run(run, sort_columns(joined))
    return len(joined["key"])


def merge_part(
    runs: Sequence[Path], first_items: Sequence[int], low: int, high: int, out: Path, common: Path
) -> tuple[int, int]:
    """Merge a range of keys over all runs, items numbered over all; what too many share goes to `common`.

    Returns how many n-grams were kept and how many left out.
    """
    opened = [SortedRun(run) for run in runs]
    parts = [read_range([run], low, high, ["key", "item"]) for run in opened]
    key = concat([part["key"] for part in parts])
    item = concat(
        [part["item"] + np.uint32(first) for part, first in zip(parts, first_items, strict=True)]
    ).astype(np.uint32)
    merged = sort_columns({"key": key, "item": item})
    starts = group_starts(merged["key"])
    sizes = np.diff(starts)
    kept = np.repeat(sizes <= MOST, sizes)
    write_run(out, {name: column[kept] for name, column in merged.items()})
    write_array(common, merged["item"][~kept])
    return int((sizes <= MOST).sum()), int((sizes > MOST).sum())


def sum_sizes(documents: Sequence[Path], common: Sequence[Path], sizes: Path) -> int:
    """Write how many n-grams of each held-out document count; return how many documents have none."""
    counted = np.concatenate([_column(path, "num_ngrams") for path in documents]).astype(np.uint32)
    for path in common:
        items = read_array(path, np.uint32)
        counted -= np.bincount(items, minlength=len(counted)).astype(np.uint32)
    write_array(sizes, counted)
    return int((counted == 0).sum())


class Index:
    """The n-grams of all held-out documents, in runs of ranges of keys, mapped."""

    def __init__(self, runs: Sequence[Path], sizes: Path) -> None:
        self.runs = [SortedRun(run) for run in runs]
        self.sizes = read_array(sizes, np.uint32)
        self.firsts = np.array([(part << 64) // len(runs) for part in range(len(runs))], np.uint64)

    def find(
        self, key: npt.NDArray[np.uint64], doc: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (document, item) for each n-gram that both have."""
        docs, items = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        order = argsort(key)  # neighbours are looked for next to each other
        key, doc = key[order], doc[order]
        part = np.searchsorted(self.firsts, key, "right") - 1
        for number, run in enumerate(self.runs):
            mine = part == number
            if not len(run) or not mine.any():
                continue
            own = key[mine]
            first = np.searchsorted(run.key, own, "left")
            there = np.flatnonzero(run.key[np.minimum(first, len(run) - 1)] == own)
            own, first = own[there], first[there]
            size = np.searchsorted(run.key, own, "right") - first
            places = np.repeat(first - (np.cumsum(size) - size), size) + np.arange(int(size.sum()))
            items.append(run.columns["item"][places].astype(np.int64))
            docs.append(np.repeat(doc[mine][there], size))
        return np.concatenate(docs), np.concatenate(items)


def probe_shard(
    settings: HeldoutSettings, split: Split, path: Path, first_item: int, index: Index, out: Path
) -> int:
    """Write which held-out documents lie in documents of a shard: of those in training the one that holds
    most of each, of those held out all."""
    next_item = first_item
    with ParquetWriter(out, CONTAINERS) as writer:
        for batch in _batches(path):
            unit = units(batch)
            held = split.held(unit)
            own = np.where(held, next_item + np.cumsum(held) - 1, -1)
            next_item += int(held.sum())
            doc, key = _distinct(batch["text"], settings.ngram)
            doc, item = index.find(key, doc)
            pair, shared = np.unique(doc << 32 | item, return_counts=True)
            doc, item = pair >> 32, pair & 0xFFFFFFFF
            share = shared / np.maximum(index.sizes[item], 1)
            chosen = (share >= settings.min_share) & (own[doc] != item)
            doc, item, share = doc[chosen], item[chosen], share[chosen]
            rows = batch.select(["id", "source"]).take(pa.array(doc))
            trained = ~held[doc]
            columns = [
                pa.array(item, pa.uint32()), pa.array(share), rows["id"], unit.take(pa.array(doc)),
                rows["source"], pa.array(trained),
            ]  # fmt: skip
            writer.write(_best(pa.table(columns, schema=CONTAINERS)))
    return writer.num_rows


def decide(documents: Sequence[Path], probed: Sequence[Path]) -> tuple[pa.Table, pa.Table, int]:
    """Say which units go to training, with whose unit, and list the documents found; the third is how many
    documents these units are.

    What lies in a held-out document that goes to training goes there, too, and so on.
    """
    held = pa.concat_tables([read_parquet(path) for path in documents])
    found = _best(pa.concat_tables([read_parquet(path) for path in probed])).to_pylist()
    ids, of = held["id"].to_pylist(), held["unit"].to_pylist()
    targets: dict[bytes, bytes] = {}
    listed: dict[int, dict[str, Any]] = {}
    for row in found:
        if row["trained"]:
            targets.setdefault(of[row["item"]], row["unit"])
            listed.setdefault(row["item"], row)
    fresh = True
    while fresh:  # rows are in a fixed order, so each round is the same wherever it runs
        fresh = False
        for row in found:
            if not row["trained"] and row["unit"] in targets and row["item"] not in listed:
                listed[row["item"]] = row
                fresh = True
                targets.setdefault(of[row["item"]], targets[row["unit"]])
    sources = held["source"].to_pylist()
    rows = [
        {
            "id": ids[item], "source": sources[item], "share": row["share"], "within": row["id"],
            "within_source": row["source"], "within_heldout": not row["trained"],
        }
        for item, row in sorted(listed.items())
    ]  # fmt: skip
    moved = sum(unit in targets for unit in of)
    pairs = [{"unit": unit, "target": target} for unit, target in sorted(targets.items())]
    return pa.Table.from_pylist(pairs, TARGETS), pa.Table.from_pylist(rows, FOUND), moved


def with_targets(documents: pa.Table, targets: pa.Table) -> pa.Table:
    """Give the documents of units that go to training the unit of what contains them, as their cluster."""
    place = pc.index_in(units(documents), value_set=targets["unit"].combine_chunks())
    moved = targets["target"].combine_chunks().take(place)
    if UNIT_COLUMN in documents.column_names:
        at = documents.column_names.index(UNIT_COLUMN)
        column = pc.coalesce(moved, documents[UNIT_COLUMN].combine_chunks().cast(_ID))
        return documents.set_column(at, pa.field(UNIT_COLUMN, _ID), column)
    return documents.append_column(pa.field(UNIT_COLUMN, _ID), moved)


def _best(rows: pa.Table) -> pa.Table:
    """Put containers in order, and of those in training leave the one that holds most of each item."""
    rows = rows.sort_by(
        [("item", "ascending"), ("trained", "descending"), ("share", "descending"), ("id", "ascending")]
    )
    item, trained = rows["item"].to_numpy(), rows["trained"].to_numpy(zero_copy_only=False)
    first = np.ones(len(item), np.bool_)
    first[1:] = (item[1:] != item[:-1]) | (trained[1:] != trained[:-1])
    return rows.filter(pa.array(first | ~trained))


def _distinct(text: pa.ChunkedArray, n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """The n-grams of some texts, each once: (text, key)."""
    keys, bounds = ngrams(*cores_of(text), n)
    doc = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    order = np.lexsort((keys, doc))
    keys, doc = keys[order], doc[order]
    fresh = np.ones(len(keys), np.bool_)
    fresh[1:] = (keys[1:] != keys[:-1]) | (doc[1:] != doc[:-1])
    return doc[fresh], keys[fresh]


def _batches(path: Path) -> Iterator[pa.Table]:
    for table in read_batches(path, _READ):
        yield from cut_by_bytes(table, _BATCH_BYTES)


def _column(path: Path, name: str) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = read_parquet(path, columns=[name])[name].to_numpy()
    return column
