"""Shard records added up: books, tallies and histograms are sums, samples are those with the smallest hash of
all shards. What they come to does not grow with the shards."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gristmill.files.sealed import understood
from gristmill.ledger import Books
from gristmill.manifest import TaskRecord
from gristmill.pipeline.run.narration.times import PhaseTimes, TaskTime
from gristmill.pipeline.run.records.observed import SAMPLES, TOP_DOMAINS, Shown, Tallies

CLUSTERS, MEMBERS = 6, 24  # shown, and members of each
MOST_DOMAINS = 10 * TOP_DOMAINS  # of a source, in what a finished step is summed up to


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
    times: dict[str, PhaseTimes] = field(default_factory=dict)  # by phase
    # By source and tally: how many names a summary leaves out, the rarest, and what they counted.
    left_out: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    has_books: bool = False

    def add(self, record: TaskRecord, *, rewritten: bool = False) -> None:
        """Add one record. `rewritten`: a later phase wrote its documents anew and observed them anew, so that
        what it saw as kept is left out. Raises IntegrityError for one that does not say what is added up."""
        with understood(f"{record.phase}/{record.task}.json"):
            self._add(record, rewritten=rewritten)

    def _add(self, record: TaskRecord, *, rewritten: bool) -> None:
        self.num_records += 1
        source = _source(record)
        if record.books:
            self._add_books(record.books, source)
        self.counts.update({name: value for name, value in record.counts.items() if isinstance(value, int)})
        tallies = self.tallies.setdefault(source, {})
        for name, tally in Tallies.of(record.extra).tallies.items():
            if not (rewritten and name.startswith("kept.")):
                tallies.setdefault(name, Counter()).update(tally)
        for name, histogram in record.histograms.items():
            without = {"kept"} if rewritten else set()
            if name == "length_bytes":
                self._add_histogram(self.lengths, source, histogram, without)
            else:
                self._add_histogram(self.histograms, name, histogram, without)
        for label, samples in record.samples.items():
            if not (rewritten and label == "kept"):
                self._add_samples(self.samples, label, samples)
        shown = Shown.of(record.extra)
        for outcome, pairs in (shown.pairs or {}).items():
            self._add_samples(self.pairs, outcome, pairs)
        if shown.bounded:
            self.bounded = sorted({*self.bounded, *shown.bounded})[:SAMPLES]
        self._add_clusters(shown.clusters or [])
        times = self.times.setdefault(record.phase, PhaseTimes(record.phase))
        times.add(TaskTime.of(record))

    def _add_books(self, books: Books, source: str) -> None:
        self.has_books = True
        self.books.add(books)
        self.by_source.setdefault(source, Books()).add(books)

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
        """As many as every shard keeps: the smallest of them all are exactly the smallest of the whole."""
        mine = found.setdefault(label, [])
        if len(mine) == SAMPLES:  # after the first shards hardly any is among the smallest
            last = _sample_order(mine[-1])
            samples = [sample for sample in samples if _sample_order(sample) < last]
            if not samples:
                return
        mine[:] = heapq.nsmallest(SAMPLES, [*mine, *samples], key=_sample_order)

    def _add_clusters(self, clusters: list[dict[str, Any]]) -> None:
        """Members of the clusters with the smallest hashes, put together from all shards."""
        if not clusters:
            return
        found = {cluster["cluster_id"]: cluster for cluster in self.clusters}
        for cluster in clusters:
            mine = found.setdefault(cluster["cluster_id"], {**cluster, "members": []})
            members = [*mine["members"], *cluster["members"]]
            mine["members"] = heapq.nsmallest(MEMBERS, members, key=_member_order)
        self.clusters = heapq.nsmallest(
            CLUSTERS, found.values(), key=lambda cluster: (cluster["hash"], cluster["cluster_id"])
        )

    def merge(self, other: Totals) -> None:
        """Add another step's totals to these, for views over all sources of a stage."""
        self.num_records += other.num_records
        self.has_books |= other.has_books
        self.books.add(other.books)
        for source, books in other.by_source.items():
            self.by_source.setdefault(source, Books()).add(books)
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


def is_rewritten(record: TaskRecord, replaced: Container[str]) -> bool:
    """Whether a later phase wrote all documents of a task anew; those that were handed on have an index."""
    documents = [entry.path for entry in record.files if entry.kind in ("documents", "documents-index")]
    return bool(documents) and all(path in replaced for path in documents)


def in_place(records: Sequence[TaskRecord], replaced: Container[str]) -> list[TaskRecord]:
    """Records in their order, but what wrote a task's documents anew stands behind that task's: a step's
    shards stay in the order of its inputs."""
    places = {record.task: number for number, record in enumerate(records) if is_rewritten(record, replaced)}
    order = [places.get(record.task, number) for number, record in enumerate(records)]
    return [records[number] for number in sorted(range(len(records)), key=lambda number: order[number])]


def _source(record: TaskRecord) -> str:
    """The source that a task's documents are of; a task has one or none."""
    return next((entry.source for entry in record.files if entry.source), "")


def _sample_order(sample: Mapping[str, Any]) -> tuple[float, int, str]:
    """Nearest to the cut first where that is what was sampled, then by hash."""
    return (sample.get("distance", 0.0), sample.get("hash", 0), sample.get("id", ""))


def _member_order(member: Mapping[str, Any]) -> tuple[bool, str]:
    return (member.get("removed", False), member["id"])
