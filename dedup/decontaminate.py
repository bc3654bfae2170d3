"""Decontamination: documents that hold what benchmarks ask.

Benchmark items and documents are compared by hashed n-grams of folded words, the ones near-duplicates are
found with. An item of fewer than n words is looked for as a whole, if it has `min_words`; shorter ones are
not looked for, and counted.

How a stage calls this: one task reads the benchmarks, then one task for each shard:

    index_benchmarks(settings, scratch / "grams", scratch / "items.parquet")
    for applied, hits in decontaminate(settings, grams, items, shard.path): ...    # Arrow tables
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.cuts import Edits, Failure, cut_documents, merge_edits, without
from gristmill.dedup.decisions import Applied
from gristmill.dedup.runs import Run, concat, sort_columns, write_run
from gristmill.dedup.settings import DecontaminateSettings
from gristmill.dedup.shards import read_batches
from gristmill.dedup.shingles import ngrams, word_items
from gristmill.errors import InputError
from gristmill.parquet import read_parquet
from gristmill.storage import ParquetWriter
from gristmill.text.words import words_of

RULE = "dedup.contaminated"
_FILTER_BITS = 24
_TEXT_SHOWN = 200

ITEMS = pa.schema(
    [("benchmark", pa.string()), ("line", pa.int64()), ("num_words", pa.int64()), ("text", pa.string())]
)
# A benchmark item found in a document, and the share of the item's words that lie in n-grams found there.
HITS = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("num_ngrams", pa.int64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
    ]
)


def index_benchmarks(settings: DecontaminateSettings, grams_out: Path, items_out: Path) -> dict[str, int]:
    """Write the n-grams of all benchmark items as a sorted run, and the items beside it."""
    columns: dict[str, list[npt.NDArray]] = {"key": [], "item": [], "place": [], "size": []}
    items: list[dict[str, Any]] = []
    skipped = 0
    for benchmark in settings.benchmarks:
        for line, text in _items(Path(benchmark), settings.fields):
            words, bounds = word_items(pa.chunked_array([[text]], pa.large_string()))
            if len(words) < settings.min_words:
                skipped += 1
                continue
            n = min(settings.ngram, len(words))
            keys, _bounds = ngrams(words, bounds, n)
            columns["key"].append(keys)
            columns["item"].append(np.full(len(keys), len(items), np.uint32))
            columns["place"].append(np.arange(len(keys), dtype=np.uint32))
            columns["size"].append(np.full(len(keys), n, np.uint32))
            items.append(
                {
                    "benchmark": Path(benchmark).name,
                    "line": line,
                    "num_words": len(words),
                    "text": text[:_TEXT_SHOWN],
                }
            )
    write_run(grams_out, sort_columns({name: concat(parts) for name, parts in columns.items()}))
    with ParquetWriter(items_out, ITEMS) as writer:
        writer.write(pa.Table.from_pylist(items, ITEMS))
    return {"items": len(items), "too_short": skipped}


def _items(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(
            f"the benchmark `{path}` cannot be read: {error.strerror}",
            hint="`benchmarks` are paths of JSON lines",
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"the benchmark is no JSON lines: {error}", where=f"{path}:{number}") from error
        if not isinstance(row, dict) or (
            fields and not any(isinstance(row.get(name), str) for name in fields)
        ):
            wanted = f"a text in `{'` or `'.join(fields)}`" if fields else "an object"
            raise InputError(
                f"a benchmark row must hold {wanted}",
                where=f"{path}:{number}",
                hint="name the fields with `fields`",
            )
        yield from (
            (number, value)
            for name, value in row.items()
            if isinstance(value, str) and (not fields or name in fields)
        )


class _Grams:
    """The n-grams of the benchmarks, with a bit filter in front: nearly all n-grams of documents end
    there."""

    def __init__(self, path: Path) -> None:
        run = Run(path)
        self.columns = run.columns
        self.key = run.key
        self.sizes = sorted(set(run.columns["size"].tolist()))
        self.filter = np.zeros(1 << _FILTER_BITS, bool)
        self.filter[self.key >> np.uint64(64 - _FILTER_BITS)] = True

    def find(self, hashes: npt.NDArray[np.uint64], n: int) -> list[tuple[int, int, int]]:
        """Return (place in the document, item, place in the item) of every n-gram that a benchmark has
        too."""
        maybe = np.flatnonzero(self.filter[hashes >> np.uint64(64 - _FILTER_BITS)])
        low, high = (np.searchsorted(self.key, hashes[maybe], side) for side in ("left", "right"))  # type: ignore[call-overload]
        return [
            (place, int(self.columns["item"][entry]), int(self.columns["place"][entry]))
            for place, start, stop in zip(maybe.tolist(), low.tolist(), high.tolist(), strict=True)
            for entry in range(start, stop)
            if self.columns["size"][entry] == n
        ]


def decontaminate(
    settings: DecontaminateSettings, grams: Path, items: Path, path: Path
) -> Iterator[tuple[Applied, pa.Table]]:
    """Split a shard into kept (or cut) and removed documents, with the hits behind them."""
    known, named = _Grams(grams), read_parquet(items).to_pylist()
    for table in read_batches(path):
        hits: list[dict[str, Any]] = []
        words, bounds = word_items(table["text"])
        found: dict[int, list[tuple[int, int, int, int]]] = {}
        for n in known.sizes:
            hashes, starts = ngrams(words, bounds, n)
            for place, item, item_place in known.find(hashes, n):
                doc = int(np.searchsorted(starts, place, "right")) - 1
                if bounds[doc + 1] - bounds[doc] >= n:  # a shorter text has a hash of its own kind
                    found.setdefault(doc, []).append((place - int(starts[doc]), n, item, item_place))
        texts = table["text"].to_pylist()
        edits: list[Edits] = [[] for _ in texts]
        num_cut = [0] * len(texts)
        failures: list[Failure | None] = [None] * len(texts)
        for doc, grams_found in sorted(found.items()):
            shares = _shares(grams_found, named)
            guilty = {
                item: share
                for item, (_count, share) in shares.items()
                if share > 0 and share >= settings.min_share
            }
            for item in sorted(guilty):
                entry, (count, share) = named[item], shares[item]
                where = {"benchmark": entry["benchmark"], "line": entry["line"], "item": entry["text"]}
                hits.append({"id": table["id"][doc].as_py(), "num_ngrams": count, "share": share, **where})
            if guilty and settings.action == "remove":
                failures[doc] = (RULE, max(guilty.values()), settings.min_share)
            elif guilty:
                spans = [(place, n) for place, n, item, _item_place in grams_found if item in guilty]
                edits[doc], failures[doc] = _cut(settings, texts[doc], spans)
                num_cut[doc] = len(edits[doc])
        left = [without(text, ranges) for text, ranges in zip(texts, edits, strict=True)]
        yield cut_documents(table, edits, num_cut, left, failures), pa.Table.from_pylist(hits, HITS)


def _shares(
    found: list[tuple[int, int, int, int]], items: list[dict[str, Any]]
) -> dict[int, tuple[int, float]]:
    """Return per item how many n-grams were found and the share of its words that they cover."""
    covered: dict[int, set[int]] = {}
    count: dict[int, int] = {}
    for _place, n, item, item_place in found:
        covered.setdefault(item, set()).update(range(item_place, item_place + n))
        count[item] = count.get(item, 0) + 1
    return {item: (count[item], len(places) / items[item]["num_words"]) for item, places in covered.items()}


def _cut(
    settings: DecontaminateSettings, text: str, spans: list[tuple[int, int]]
) -> tuple[Edits, Failure | None]:
    """Cut n-grams with a window on either side, whole words, and what is left too short between; as GPT-3's
    appendix C."""
    words = words_of(pa.array([text], pa.large_string()))
    cored = np.flatnonzero(words.core_end > words.core_start)
    size = len(text.encode())
    windows = []
    for place, n in spans:
        start, end = int(words.start[cored[place]]), int(words.end[cored[place + n - 1]])
        before = words.start[words.start >= start - settings.window_bytes]
        after = words.end[words.end <= end + settings.window_bytes]
        windows.append((int(before[0]), int(after[-1])))
    edits = merge_edits(windows)
    bounds = [0, *(bound for edit in edits for bound in edit), size]
    data = text.encode()
    pieces = list(zip(bounds[::2], bounds[1::2], strict=True))
    short = [
        piece for piece in pieces if len(data[slice(*piece)].decode().strip()) < settings.min_piece_characters
    ]
    edits = merge_edits([*edits, *(piece for piece in short if piece[1] > piece[0])])
    num_left = len(pieces) - len(short)
    if num_left > settings.max_pieces:
        return [], (f"{RULE}.pieces", float(num_left), float(settings.max_pieces))
    return edits, (RULE, 1.0, None) if num_left == 0 else None
