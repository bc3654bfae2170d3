"""Semantic near duplicates: documents of one cluster whose vectors are alike (SemDeDup, Abbas et al. 2023).

A sample of the corpus, chosen by hash, teaches vectors of words and centroids of clusters (`context`,
`embedding`); every document gets a vector and the nearest cluster. Within a cluster documents are taken in
survivor order: one whose cosine with one that was kept reaches the threshold is removed, and names the most
alike of these. Everything after learning is exact, so that no machine or order of adding can sway it.

How a stage calls this; each call is one task and reads the files of the one before:

    for shard in shards: map_sample(settings, shard.path, shard.first_row, sample, num_documents)
    learn_model(settings, samples, 0, 2**64, model)
    for shard in shards: map_vectors(settings, shard.path, shard.first_row, [model], vectors)
    for part in range(parts): decide(settings, vectors, *key_range(part, parts), decisions)
    for shard in shards: apply_semantic(settings, shard.path, shard.first_row, decisions)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.below.seeds import folded_words
from gristmill.dedup.decisions import (
    DECISIONS,
    Applied,
    apply_decisions,
    cluster_records,
    largest_clusters,
    write_decisions,
)
from gristmill.dedup.near.context import learn, nearest_centroids
from gristmill.dedup.near.embedding import SIZE, Model, Vectors, cosines, embed_texts
from gristmill.dedup.order import Numbers, columns_needed, member_columns
from gristmill.dedup.settings.near import SemanticSettings
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, key_slices, least_key, read_range
from gristmill.dedup.sorted.shards import num_rows, read_batches
from gristmill.dedup.sorted.spill import Spill
from gristmill.hashing import keyed_hash
from gristmill.splitmix import finalise

RULE = "dedup.semantic"
SCORES = pa.schema([field.with_name("cosine") if field.name == "jaccard" else field for field in DECISIONS])
_SAMPLE: Mapping[str, npt.DTypeLike] = {"key": np.uint64, "documents": np.uint64, "length": np.uint32}
_SAID = ("rank", "id_high", "id_low", "source", "snapshot", "scope")
_VECTOR = tuple(f"vector_{number}" for number in range(SIZE // 8))  # eight places each
_MEMBER: Mapping[str, npt.DTypeLike] = dict.fromkeys(("key", "row", *_SAID, *_VECTOR), np.uint64)
_CLUSTER_BITS, _NEAR_BITS, _HASH_BITS = 20, 24, 20  # of keys
_CLUSTER_SHIFT = _NEAR_BITS + _HASH_BITS
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_AT_A_TIME = 256  # members compared in one go
_PURPOSE = "dedup.semantic"


def part_records(settings: SemanticSettings) -> int:
    """Documents that a task decides on: a vector, twice, and what is said of them."""
    return settings.memory_bytes // (2 * SIZE + 200)


def map_sample(
    settings: SemanticSettings, path: Path, first_row: int, out: Path, num_documents: int
) -> dict[str, int]:
    """Write the words of a shard's part of the sample, by their documents' hash."""
    share = min(1.0, settings.sample_documents / max(num_documents, 1))
    spill = Spill(out, _SAMPLE, settings.memory_bytes // 4, ("words", np.uint64))
    for table in read_batches(path, ["id", "text"]):
        key = keyed_hash(0, _PURPOSE, table["id"].combine_chunks())
        chosen = np.flatnonzero(key < np.uint64(min(int(share * 2.0**64), (1 << 64) - 1)))
        words = folded_words(table["text"].take(pa.array(chosen)))
        texts = [
            words.hashes[start : min(end, start + settings.sample_words)].copy()
            for start, end in zip(words.bounds[:-1], words.bounds[1:], strict=True)
        ]
        length = np.array([len(text) for text in texts], np.uint32)
        spill.add((key[chosen], np.full(len(chosen), num_documents), length), texts)
    return {"sampled": spill.count, "files": spill.close()}


def learn_model(
    settings: SemanticSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, int]:
    """Learn from the sample, or from as much of it as `memory_bytes` holds, smallest hashes first."""
    runs = [SortedRun(path) for path in paths]
    texts: list[tuple[int, Numbers]] = []
    documents, sampled = 0, sum(len(run) for run in runs)
    for run in runs:
        ends = run.columns["end"].astype(np.int64)
        starts = ends - run.columns["length"]
        documents = max(documents, int(run.columns["documents"].max(initial=0)))
        words = run.columns["words"]
        texts += [
            (key, words[a:b])
            for key, a, b in zip(run.key.tolist(), starts.tolist(), ends.tolist(), strict=True)
        ]
    texts.sort(key=lambda one: one[0])
    bounds = np.cumsum([0, *(len(words) for _key, words in texts)]).astype(np.int64)
    bounds = bounds[: np.searchsorted(bounds, settings.memory_bytes // 100, "right")]
    hashes = concat([words for _key, words in texts[: len(bounds) - 1]]).astype(np.uint64)
    clusters = 1
    while clusters * settings.cluster_documents < documents and clusters < 1 << _CLUSTER_BITS:
        clusters *= 2
    model = learn(hashes, bounds, clusters, settings.context_share)
    model.write(out)
    return {"learned_from": len(bounds) - 1, "sampled": sampled, "centroids": len(model.centroids)}


def map_vectors(
    settings: SemanticSettings, path: Path, first_row: int, model: Sequence[Path], out: Path
) -> dict[str, int]:
    """Write a shard's vectors by cluster, within it by cosine with the centroid; a document without words has
    none and is kept."""
    known = Model.read(model[0])
    spill = Spill(out, _MEMBER, settings.memory_bytes // 4)
    distant = settings.survivor == "distant"
    asked = settings.model_copy(update={"survivor": "id"}) if distant else settings
    row = first_row
    for table in read_batches(path, columns_needed(asked)):
        vectors = embed_texts(known, table["text"])
        chosen = np.flatnonzero(np.any(vectors, axis=1))
        vectors = vectors[chosen]
        members = {name: column[chosen] for name, column in member_columns(asked, table).items()}
        cluster, cosine = nearest_centroids(vectors, known.centroids)
        near = np.rint((cosine.clip(-1, 1) + 1) / 2 * ((1 << _NEAR_BITS) - 1)).astype(np.uint64)
        if distant:
            members["rank"] |= near
        keys = _keys(cluster, len(known.centroids), near, vectors)
        said = (members[name] for name in _SAID)
        spill.add([keys, (chosen + row).astype(np.uint64), *said, *vectors.view(np.uint64).T])
        row += len(table)
    return {"vectors": spill.count, "files": spill.close()}


def _keys(cluster: npt.NDArray[np.int64], num_clusters: int, near: Numbers, vectors: Vectors) -> Numbers:
    """The cluster, spread over the key space, then the cosine with its centroid, then a hash of the vector,
    so that equal ones meet."""
    powers = _FACTOR ** np.arange(1, SIZE + 1, dtype=np.uint64)
    hashed = finalise((vectors.astype(np.int64).astype(np.uint64) * powers).sum(axis=1, dtype=np.uint64))
    spread = _CLUSTER_BITS - (num_clusters.bit_length() - 1)
    top = cluster.astype(np.uint64) << np.uint64(spread + _CLUSTER_SHIFT)
    keys: Numbers = top | near << np.uint64(_HASH_BITS) | hashed >> np.uint64(64 - _HASH_BITS)
    return keys


def decide(
    settings: SemanticSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, Any]:
    """Decide who stays among the documents of the clusters that begin in [low, high)."""
    runs = [SortedRun(path) for path in paths]
    nothing = {name: np.empty(0, np.uint64) for name in _MEMBER}
    found = [_records(nothing, np.empty(0, np.int64), np.empty(0))]
    compared = uncompared = 0
    for start, end in _clusters(runs, low, high):
        parts = list(key_slices(runs, start, end, settings.max_cluster_documents))
        for first, last in parts:
            columns, vectors = _read(runs, first, last)
            uncompared += len(vectors) if len(parts) > 1 else 0
            keeper, score, pairs = keep_first(vectors, columns["scope"], settings.threshold)
            compared += pairs
            found.append(_records(columns, keeper, score))
    records = {name: concat([one[name] for one in found]) for name in found[0]}
    write_decisions(out, records)
    clusters = int((records["removed"] == 0).sum())
    return {
        "clusters": clusters,
        "removed": len(records["row"]) - clusters,
        "compared": compared,
        "uncompared": uncompared,
        "largest": largest_clusters(records),
    }


def _clusters(runs: Sequence[SortedRun], low: int, high: int) -> Iterator[tuple[int, int]]:
    """The key ranges of the clusters that begin in [low, high) and have members."""
    size = 1 << _CLUSTER_SHIFT
    low, high = (-(-bound // size) * size for bound in (low, high))
    while low < high:
        first = least_key(runs, low, high)
        if first >= high:
            return
        low = first // size * size
        yield low, low + size
        low += size


def _read(runs: Sequence[SortedRun], low: int, high: int) -> tuple[Columns, Vectors]:
    """Members of a range of keys and their vectors, in survivor order."""
    columns = read_range(runs, low, high, list(_MEMBER))
    order = np.lexsort([columns[name] for name in ("row", "id_low", "id_high", "rank")])
    columns = {name: column[order] for name, column in columns.items()}
    return columns, np.stack([columns.pop(name) for name in _VECTOR], axis=1).view(np.int8)


def keep_first(
    vectors: Vectors, scope: Numbers, threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], int]:
    """Walk through vectors in order and keep those that are like none that was kept and has the same scope.

    Returns for each the most alike of the kept ones that removes it, or itself, the cosine with that, and how
    many pairs were compared in all.
    """
    keeper = np.arange(len(vectors))
    score = np.full(len(vectors), np.nan)
    kept = np.empty(0, np.int64)
    compared = 0
    for start in range(0, len(vectors), _AT_A_TIME):
        own = np.arange(start, min(start + _AT_A_TIME, len(vectors)))
        others = np.concatenate([kept, own])
        similar = cosines(vectors[own], vectors[others])
        similar[scope[own][:, None] != scope[others][None, :]] = -1.0
        stays = np.ones(len(others), bool)
        for place, member in enumerate(own.tolist()):
            before = len(kept) + place
            candidates = np.where(stays[:before], similar[place, :before], -1.0)
            compared += int(stays[:before].sum())
            best = int(candidates.argmax()) if before else 0
            if before and candidates[best] >= threshold:
                keeper[member], score[member] = others[best], candidates[best]
                stays[before] = False
        kept = others[stays]
    return keeper, score, compared


def _records(columns: Columns, keeper: npt.NDArray[np.int64], score: npt.NDArray[np.float64]) -> Columns:
    """Describe the clusters of two or more: a kept document with all that were removed for it."""
    size = np.bincount(keeper, minlength=len(keeper))
    inside = np.flatnonzero(size[keeper] > 1)
    _kept, cluster = np.unique(keeper[inside], return_inverse=True)
    place = np.full(len(keeper), -1, np.int64)
    place[inside] = np.arange(len(inside))
    members = {name: columns[name][inside] for name in ("row", "id_high", "id_low", "source", "snapshot")}
    return cluster_records(members, cluster, place[keeper[inside]], score[inside])


def apply_semantic(
    settings: SemanticSettings, path: Path, first_row: int, decisions: Sequence[Path]
) -> Iterator[Applied]:
    """Split a shard into kept and removed documents; `mark` mode removes none."""
    for applied in apply_decisions(
        decisions,
        first_row,
        num_rows(path),
        read_batches(path),
        rule=RULE,
        bound=settings.threshold,
        drop=settings.mode == "drop",
    ):
        yield replace(applied, decisions=applied.decisions.rename_columns(SCORES.names))
