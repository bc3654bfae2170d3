"""The n-grams of benchmark items: written once as a sorted run, looked up for every document.

An n-gram that many items share, a phrase of the benchmark's own, names the first of them only, and an item's
n-grams are met once for a document however often they occur in it: the work for a page is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.benchmarks import characters_per_word, read_items
from gristmill.dedup.near.shingles import ngrams
from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.dedup.sorted.runs import SortedRun, concat, write_run
from gristmill.errors import InputError
from gristmill.files.storage import ParquetWriter
from gristmill.text.cores import cores_of

ITEMS_PER_NGRAM = 64
_FILTER_BITS = 24
_TEXT_SHOWN = 200

ITEMS = pa.schema(
    [("benchmark", pa.string()), ("line", pa.int64()), ("num_words", pa.int64()), ("text", pa.string())]
)


def index_benchmarks(
    settings: DecontaminateSettings, grams_out: Path, items_out: Path
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Write the n-grams of all benchmark items as a sorted run, and the items beside it.

    Returns counts, of all benchmarks and of each.

    Raises InputError when a benchmark gives no item.
    """
    columns: dict[str, list[npt.NDArray]] = {"key": [], "item": [], "place": [], "size": []}
    items: list[dict[str, Any]] = []
    told = []
    for benchmark, name in zip(settings.benchmarks, _names(settings.benchmarks), strict=True):
        facts: dict[str, Any] = {"benchmark": name, "layout": "", "rows": 0}
        facts |= {"items": 0, "too_short": 0}
        for item in read_items(Path(benchmark), settings):
            if isinstance(item, int):
                facts["rows"] += 1
                continue
            words, bounds = cores_of(pa.chunked_array([[item.text]], pa.large_string()))
            each = characters_per_word(item.text, len(words))
            facts["layout"] = item.layout
            if len(words) < settings.min_words * each:
                facts["too_short"] += 1
                continue
            facts["items"] += 1
            n = min(settings.ngram * each, len(words))
            keys, _bounds = ngrams(words, bounds, n)
            columns["key"].append(keys)
            columns["item"].append(np.full(len(keys), len(items), np.uint32))
            columns["place"].append(np.arange(len(keys), dtype=np.uint32))
            columns["size"].append(np.full(len(keys), n, np.uint32))
            entry = {"benchmark": facts["benchmark"], "line": item.line, "num_words": len(words)}
            items.append({**entry, "text": item.text[:_TEXT_SHOWN]})
        if not facts["items"]:
            raise InputError(
                f"the benchmark `{benchmark}` gives nothing to look for: none of its {facts['rows']:,} rows"
                f" holds a text of {settings.min_words} words ({facts['too_short']:,} texts are shorter)",
                hint="name what holds text with `fields`, or lower `min_words`",
            )
        told.append(facts)
    joined, dropped = _most_items({name: concat(parts) for name, parts in columns.items()})
    write_run(grams_out, joined)
    with ParquetWriter(items_out, ITEMS) as writer:
        writer.write(pa.Table.from_pylist(items, ITEMS))
    counts = {name: sum(facts[name] for facts in told) for name in ("rows", "items", "too_short")}
    return {**counts, "shared_ngrams": dropped}, told


def _names(paths: Sequence[str]) -> list[str]:
    """Name files by their last part, by their path where two have the same."""
    names = [Path(path).name for path in paths]
    return [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]


def _most_items(columns: dict[str, npt.NDArray]) -> tuple[dict[str, npt.NDArray], int]:
    """Sort n-grams by key, and of one that many items share, a phrase of the benchmark's own, keep the first
    items; return how many are left out."""
    if not len(columns["key"]):
        return columns, 0
    order = np.lexsort([columns[name] for name in ("place", "item", "key")])
    columns = {name: column[order] for name, column in columns.items()}
    new_key = np.diff(columns["key"], prepend=~columns["key"][:1]) != 0
    new_item = new_key | (np.diff(columns["item"].astype(np.int64), prepend=-1) != 0)
    number = np.cumsum(new_item)
    rank = number - np.repeat(number[new_key], np.diff(np.append(np.flatnonzero(new_key), len(number))))
    inside = rank < ITEMS_PER_NGRAM
    return {name: column[inside] for name, column in columns.items()}, int((~inside).sum())


@dataclass(frozen=True)
class FoundGrams:
    """The n-grams of one size that a batch of texts shares with benchmarks: document, place, key of each."""

    n: int
    doc: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    key: npt.NDArray[np.int64]  # the number of the key among those of this size

    def of(self, doc: int) -> slice:
        return slice(*np.searchsorted(self.doc, [doc, doc + 1]).tolist())


class Grams:
    """The n-grams of the benchmarks of one size, with a bit filter in front: nearly all n-grams of documents
    end there."""

    def __init__(self, run: SortedRun, n: int) -> None:
        self.n = n
        chosen = np.flatnonzero(run.columns["size"] == n)
        key, start = np.unique(run.key[chosen], return_index=True)
        self.key, self.start = key, np.append(start, len(chosen)).astype(np.int64)
        self.item = run.columns["item"][chosen].astype(np.int64)
        self.place = run.columns["place"][chosen].astype(np.int64)
        self.filter = np.zeros(1 << _FILTER_BITS, bool)
        self.filter[key >> np.uint64(64 - _FILTER_BITS)] = True

    def find(self, words: npt.NDArray[np.uint64], bounds: npt.NDArray[np.int64]) -> FoundGrams:
        """Find the n-grams of some texts' words that a benchmark has too."""
        hashes, starts = ngrams(words, bounds, self.n)
        maybe = np.flatnonzero(self.filter[hashes >> np.uint64(64 - _FILTER_BITS)])
        number = np.minimum(np.searchsorted(self.key, hashes[maybe]), len(self.key) - 1)
        same = self.key[number] == hashes[maybe]
        maybe, number = maybe[same], number[same]
        doc = np.searchsorted(starts, maybe, "right") - 1
        whole = np.diff(bounds)[doc] >= self.n  # a shorter text has a hash of its own kind
        maybe, number, doc = maybe[whole], number[whole], doc[whole]
        return FoundGrams(self.n, doc, maybe - starts[doc], number)

    def entries(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the places in `item` and `place` of some keys."""
        size = self.start[keys + 1] - self.start[keys]
        first = np.repeat(self.start[keys] - (np.cumsum(size) - size), size)
        return first + np.arange(int(size.sum()))
