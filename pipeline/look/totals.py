"""Shard records added up: books, tallies and histograms are sums, samples are those with the smallest hash of
all shards."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gristmill.ledger import Books
from gristmill.pipeline.run.tallies import Shown, Tallies

SAMPLES = 8  # as many as every shard keeps: the smallest of them all are exactly the smallest of the whole
CLUSTERS = 6
_OUTLETS = ("kept", "removed", "failed")


@dataclass(frozen=True, slots=True)
class TaskTime:
    """What one shard cost."""

    phase: str
    task: str
    seconds: float
    peak_bytes: float
    items: int
    bytes: int


@dataclass(slots=True)
class Totals:
    """The sum of a step's shard records."""

    num_records: int = 0
    books: Books = field(default_factory=Books)
    by_source: dict[str, Books] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    tallies: dict[str, dict[str, Counter[str]]] = field(
        default_factory=dict
    )  # by source, then by what was counted
    lengths: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # by source
    histograms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    pairs: dict[str, list[dict[str, Any]]] = field(
        default_factory=dict
    )  # compared by deduplication, by outcome
    bounded: list[str] = field(default_factory=list)  # ids of documents whose comparisons a bound ended
    tasks: list[TaskTime] = field(default_factory=list)
    has_books: bool = False

    def add(self, body: Mapping[str, Any], timing: Mapping[str, float], published: set[str] | None) -> None:
        """Add one record; `published` are the paths of the step's manifest, None while it has none.

        A phase that writes documents anew observes them anew: what the first attempt saw as kept is then left
        out.
        """
        self.num_records += 1
        rewritten = published is not None and self._is_rewritten(body, published)
        books = Books.from_json(body["books"]) if body["books"] else None
        if books:
            self._add_books(books, body)
        self.counts.update({name: value for name, value in body["counts"].items() if isinstance(value, int)})
        source = _source(body)
        tallies = self.tallies.setdefault(source, {})
        for name, tally in Tallies.of(body["extra"]).tallies.items():
            if not (rewritten and name.startswith("kept.")):
                tallies.setdefault(name, Counter()).update(tally)
        for name, histogram in body["histograms"].items():
            without = {"kept"} if rewritten else set()
            if name == "length_bytes":
                self._add_histogram(self.lengths, source, histogram, without)
            else:
                self._add_histogram(self.histograms, name, histogram, without)
        for label, samples in body["samples"].items():
            if not (rewritten and label == "kept"):
                self._add_samples(self.samples, label, samples)
        shown = Shown.of(body["extra"])
        for outcome, pairs in (shown.pairs or {}).items():
            self._add_samples(self.pairs, outcome, pairs)
        self.bounded = [*self.bounded, *(shown.bounded or ())][:SAMPLES]
        self._add_clusters(shown.clusters or [])
        self.tasks.append(
            TaskTime(
                body["phase"],
                body["task"],
                timing.get("seconds", 0.0),
                timing.get("peak_bytes", 0.0),
                books.items_in if books else 0,
                books.bytes_in if books else 0,
            )
        )

    @staticmethod
    def _is_rewritten(body: Mapping[str, Any], published: set[str]) -> bool:
        documents = [entry["path"] for entry in body["files"] if entry["kind"] == "documents"]
        return bool(documents) and not any(path in published for path in documents)

    def _add_books(self, books: Books, body: Mapping[str, Any]) -> None:
        self.has_books = True
        _add(self.books, books)
        _add(self.by_source.setdefault(_source(body), Books()), books)

    @staticmethod
    def _add_histogram(
        found: dict[str, dict[str, list[float]]], name: str, histogram: Mapping[str, Any], without: set[str]
    ) -> None:
        mine = found.setdefault(name, {})
        if mine.get("bins") not in (None, histogram["bins"]):  # two sources with other bins under one name
            mine = found.setdefault(f"{name} ({len(found)})", {})
        for outlet, values in histogram.items():
            if outlet in without or not isinstance(values, list):
                continue
            before = mine.get(outlet)
            if outlet == "bins" or outlet == "cuts" or before is None:
                mine[outlet] = values
            else:
                mine[outlet] = [a + b for a, b in zip(before, values, strict=True)]

    @staticmethod
    def _add_samples(
        found: dict[str, list[dict[str, Any]]], label: str, samples: list[dict[str, Any]]
    ) -> None:
        mine = found.setdefault(label, [])
        mine[:] = heapq.nsmallest(SAMPLES, [*mine, *samples], key=_sample_order)

    def _add_clusters(self, clusters: list[dict[str, Any]]) -> None:
        """Members of the clusters with the smallest hashes, put together from all shards."""
        if not clusters:
            return
        found = {cluster["cluster_id"]: cluster for cluster in self.clusters}
        for cluster in clusters:
            mine = found.setdefault(cluster["cluster_id"], {**cluster, "members": []})
            mine["members"] = [*mine["members"], *cluster["members"]]
        self.clusters = heapq.nsmallest(
            CLUSTERS, found.values(), key=lambda cluster: (cluster["hash"], cluster["cluster_id"])
        )

    def merge(self, other: Totals) -> None:
        """Add another step's totals to these, for views over all sources of a stage."""
        self.num_records += other.num_records
        self.has_books |= other.has_books
        _add(self.books, other.books)
        for source, books in other.by_source.items():
            _add(self.by_source.setdefault(source, Books()), books)
        self.counts.update(other.counts)
        for source, tallies in other.tallies.items():
            for name, tally in tallies.items():
                self.tallies.setdefault(source, {}).setdefault(name, Counter()).update(tally)
        for mine, theirs in ((self.histograms, other.histograms), (self.lengths, other.lengths)):
            for name, histogram in theirs.items():
                self._add_histogram(mine, name, histogram, set())
        for kept, added in ((self.samples, other.samples), (self.pairs, other.pairs)):
            for label, samples in added.items():
                self._add_samples(kept, label, samples)
        self._add_clusters(other.clusters)
        self.tasks += other.tasks


def _source(body: Mapping[str, Any]) -> str:
    """The source that a task's documents are of; a task has one or none."""
    return next((entry["source"] for entry in body["files"] if entry.get("source")), "")


def _sample_order(sample: Mapping[str, Any]) -> tuple[float, int, str]:
    """Nearest to the cut first where that is what was sampled, then by hash."""
    return (sample.get("distance", 0.0), sample.get("hash", 0), sample.get("id", ""))


def _add(total: Books, part: Books) -> None:
    summed = Books.total([total, part])
    for name in ("items_in", "bytes_in", "inserted_bytes", "created_bytes"):
        setattr(total, name, getattr(summed, name))
    for name in ("items_out", "bytes_out", "by_rule_first", "by_rule_any", "by_error"):
        setattr(total, name, getattr(summed, name))
