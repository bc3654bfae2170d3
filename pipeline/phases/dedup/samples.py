"""What deduplication found, for a task's record: cluster sizes, similarities, lengths of what is cut, and
clusters and pairs chosen by hash."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.facts import Counts, Facts
from gristmill.files.storage import ParquetWriter
from gristmill.hashing import keyed_hash
from gristmill.manifest import TaskRecord
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.run.records.observed import Shown

SIZE_BINS = [2, 3, 4, 5, 9, 17, 33, 65, 129, 257, 513, 1025, 1_000_001]
JACCARD_BINS = [round(step / 50, 2) for step in range(51)]
CLUSTERS, MEMBERS = 6, 4  # clusters kept in every record, and members of each
SNIPPET_CHARACTERS = 2500
BOUNDED = pa.schema([pa.field("id", pa.binary(16), nullable=False)])
CUT_BINS = [0, *(2**power for power in range(5, 21))]  # bytes of a range that is cut
PAIRS = 8  # compared pairs kept in every record, of the accepted and of the rejected


@dataclass(frozen=True, slots=True)
class Decided(Counts):
    """Clusters of two documents and more, and what of them is removed."""

    clusters: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Largest(Facts):
    """The survivors of the largest clusters, as hex, each with the cluster's size."""

    largest: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Compared(Counts):
    """Pairs compared, those listed in a file, and documents whose comparisons a bound ended."""

    compared: int = 0
    listed: int = 0
    bounded: int = 0


@dataclass(frozen=True, slots=True)
class Members(Counts):
    members: int = 0


@dataclass(frozen=True, slots=True)
class ComparedPairs(Counts):
    """Pairs of a task by what comparing their signatures and texts came to."""

    pairs_accepted: int = 0
    pairs_rejected: int = 0
    pairs_unread: int = 0


@dataclass(frozen=True, slots=True)
class CutRanges(Counts):
    """Documents of which something is cut and that stay, and the ranges cut out of them."""

    documents_cut: int = 0
    ranges_cut: int = 0


class CutObserver:
    """Collect, over the tables of one task, how much is cut out of documents; where the documents that hold
    what is cut are named, some pairs chosen by hash."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sizes = np.zeros(len(CUT_BINS), np.int64)
        self.documents = 0
        self._pairs: list[dict[str, Any]] = []

    def see(self, decisions: pa.Table) -> None:
        edited = decisions.filter(pc.equal(decisions["decision"], "edited"))
        self.documents += len(edited)
        edits = pc.list_flatten(edited["edits"])
        size = pc.subtract(pc.struct_field(edits, "end"), pc.struct_field(edits, "start")).to_numpy()
        self.sizes += np.bincount(np.searchsorted(CUT_BINS, size, "right") - 1, minlength=len(CUT_BINS))
        if "kept_in" in decisions.column_names and len(edited):
            self._sample(edited)

    def into(self, record: TaskRecord) -> None:
        record.histograms["cut_bytes"] = {"bins": CUT_BINS, "ranges": self.sizes.tolist()}
        record.state(CutRanges(self.documents, int(self.sizes.sum())))
        if self._pairs:
            record.state(Shown(pairs={"cut": self._pairs}))

    def _sample(self, edited: pa.Table) -> None:
        hashes = keyed_hash(self.seed, "cut", edited["id"].combine_chunks())
        for row in np.argsort(hashes, kind="stable")[:PAIRS].tolist():
            one = edited.slice(row, 1).to_pylist()[0]
            edit, holder = one["edits"][0], one["kept_in"][0]
            pair = {"id": one["id"].hex(), "kept_id": holder.hex(), **edit, "hash": int(hashes[row])}
            self._pairs.append(pair)
        self._pairs = heapq.nsmallest(PAIRS, self._pairs, key=lambda pair: (pair["hash"], pair["id"]))


class ClusterObserver:
    """Collect, over the tables of one task, how documents lie in clusters.

    Clusters are sampled by the hash of their id: every task keeps the same ones, so that a cluster whose
    members lie in many shards comes together again when records are added up.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sizes = np.zeros(len(SIZE_BINS), np.int64)
        self._clusters: dict[str, dict[str, Any]] = {}

    def see(self, decisions: pa.Table, documents: pa.Table) -> None:
        """Take note of decisions beside the documents they are about, kept and removed, in any order."""
        sizes = decisions["cluster_size"].to_numpy()
        survivors = np.asarray(pc.equal(decisions["id"], decisions["survivor_id"]))
        inside = np.flatnonzero(sizes > 1)
        if not len(inside):
            return
        # A cluster is counted once, where its survivor lies.
        counted = sizes[(sizes > 1) & survivors]
        self.sizes += np.bincount(
            np.searchsorted(SIZE_BINS, counted, side="right") - 1, minlength=len(SIZE_BINS)
        )
        self._sample(decisions.take(pa.array(inside)), documents)

    def into(self, record: TaskRecord) -> None:
        record.histograms["cluster_size"] = {"bins": SIZE_BINS, "clusters": self.sizes.tolist()}
        order = sorted(self._clusters.values(), key=lambda cluster: (cluster["hash"], cluster["cluster_id"]))
        record.state(Shown(clusters=order))

    def _sample(self, decisions: pa.Table, documents: pa.Table) -> None:
        hashes = keyed_hash(self.seed, "cluster", decisions["cluster_id"].combine_chunks()).tolist()
        known = {cluster["hash"] for cluster in self._clusters.values()}
        chosen = set(heapq.nsmallest(CLUSTERS, known | set(hashes)))
        rows = [row for row, hashed in enumerate(hashes) if hashed in chosen]
        if not rows:
            return
        shown = decisions.take(pa.array(rows))
        places = pc.index_in(shown["id"], documents["id"]).to_pylist()
        for row, decision, place in zip(rows, shown.to_pylist(), places, strict=True):
            cluster = self._clusters.setdefault(
                decision["cluster_id"].hex(),
                {
                    "cluster_id": decision["cluster_id"].hex(),
                    "hash": hashes[row],
                    "size": decision["cluster_size"],
                    "members": [],
                },
            )
            cluster["members"].append(_member(decision, documents, place))
            cluster["members"] = heapq.nsmallest(
                MEMBERS, cluster["members"], key=lambda member: (member["removed"], member["id"])
            )
        self._clusters = {
            name: cluster for name, cluster in self._clusters.items() if cluster["hash"] in chosen
        }


def observe_bounded(task: Attempt, ids: list[str]) -> None:
    """Publish the documents that were kept although a bound ended their comparisons; name some in the
    record."""
    if not ids:
        return
    path = task.scratch / "bounded.parquet"
    with ParquetWriter(path, BOUNDED) as writer:
        writer.write(pa.table([pa.array(map(bytes.fromhex, ids), pa.binary(16))], schema=BOUNDED))
    task.record.state(Shown(bounded=ids[:PAIRS]))
    task.publish(path, "bounded", len(ids))


def observe_pairs(record: TaskRecord, pairs: pa.Table, similarity: list[list[int]], seed: int) -> None:
    """Put into a record how similar all pairs of one task were, and some of those listed, chosen by hash.

    `similarity` counts the accepted, the rejected and the unread by bins. A pair whose signatures were too
    far apart has no score of its texts: it counts by its estimate, as `unread`.
    """
    accepted = np.asarray(pc.fill_null(pairs["accepted"], False))
    counts = dict(zip(("accepted", "rejected", "unread"), similarity, strict=True))
    record.histograms["pair_similarity"] = {"bins": JACCARD_BINS, **counts}
    record.state(ComparedPairs(*map(sum, counts.values())))
    hashes = keyed_hash(seed, "pair", pairs["id"].combine_chunks()) ^ keyed_hash(
        seed, "kept", pairs["kept_id"].combine_chunks()
    )
    sampled: dict[str, list[dict[str, Any]]] = {}
    for outcome, inside in (("accepted", accepted), ("rejected", ~accepted)):
        places = np.flatnonzero(inside)
        chosen = places[np.argsort(hashes[places], kind="stable")[:PAIRS]]
        sampled[outcome] = [
            {**row, "id": row["id"].hex(), "kept_id": row["kept_id"].hex(), "hash": int(hashed)}
            for row, hashed in zip(
                pairs.take(pa.array(chosen)).to_pylist(), hashes[chosen].tolist(), strict=True
            )
        ]
    record.state(Shown(pairs=sampled))


def _member(decision: dict[str, Any], documents: pa.Table, row: int) -> dict[str, Any]:
    text = documents["text"][row].as_py()
    return {
        "id": decision["id"].hex(),
        "url": documents["url"][row].as_py(),
        "removed": decision["survivor_id"] != decision["id"],
        "jaccard": decision["jaccard"] if "jaccard" in decision else decision["cosine"],
        "text": None if text is None else text[:SNIPPET_CHARACTERS],
    }
