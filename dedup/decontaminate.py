"""Decontamination: documents that hold what benchmarks ask.

Benchmark items and documents are compared by hashed n-grams of folded words, the ones near-duplicates are
found with. An item of fewer than n words is looked for as a whole, if it has `min_words`; shorter ones are
not looked for, and counted.

How a stage calls this: one task reads the benchmarks, then one task for each shard:

    grams.index_benchmarks(settings, scratch / "grams", scratch / "items.parquet")
    for applied, hits in decontaminate(settings, grams, items, shard.path): ...    # Arrow tables
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.below.cuts import Edits, Failure, cut_documents, merge_edits, without
from gristmill.dedup.benchmarks import UNSPACED
from gristmill.dedup.decisions import Applied
from gristmill.dedup.grams import FoundGrams, Grams
from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.dedup.sorted.radix import group_starts
from gristmill.dedup.sorted.runs import SortedRun, concat
from gristmill.dedup.sorted.shards import read_batches
from gristmill.files.parquet import read_parquet
from gristmill.text.cores import cores_of
from gristmill.text.words import words_of

RULE = "dedup.contaminated"

# A benchmark item found in a document: how many of its n-grams, the share of its words that lie in them, and
# the words of its longest stretch of them.
HITS = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("num_ngrams", pa.int64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("longest", pa.int64(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
    ]
)


def decontaminate(
    settings: DecontaminateSettings, grams: Path, items: Path, path: Path
) -> Iterator[tuple[Applied, pa.Table]]:
    """Split a shard into kept (or cut) and removed documents, with the hits behind them."""
    run, named = SortedRun(grams), read_parquet(items).to_pylist()
    known = [Grams(run, n) for n in np.unique(run.columns["size"]).tolist()]
    for table in read_batches(path):
        hits: list[dict[str, Any]] = []
        found = _find_all(settings, known, table["text"])
        texts = table["text"].to_pylist()
        edits: list[Edits] = [[] for _ in texts]
        num_cut = [0] * len(texts)
        failures: list[Failure | None] = [None] * len(texts)
        for doc in np.unique(concat([part.doc for part, _ in found]).astype(np.int64)).tolist():
            guilty: dict[int, dict[str, Any]] = {}
            spans: list[tuple[int, int]] = []
            for part, known_grams in found:
                mine = part.of(doc)
                some = _guilty(settings, known_grams, part.key[mine], named)
                guilty |= some
                if some and settings.action == "cut":
                    spans += _spans(known_grams, part, mine, list(some))
            for item in sorted(guilty):
                entry = named[item]
                where = {"benchmark": entry["benchmark"], "line": entry["line"], "item": entry["text"]}
                hits.append({"id": table["id"][doc].as_py(), **guilty[item], **where})
            if guilty and settings.action == "remove":
                share = max(measured["share"] for measured in guilty.values())
                failures[doc] = (RULE, share, settings.min_share)
            elif guilty:
                edits[doc], failures[doc] = _cut(settings, texts[doc], spans)
                num_cut[doc] = len(edits[doc])
        left = [without(text, ranges) for text, ranges in zip(texts, edits, strict=True)]
        yield cut_documents(table, edits, num_cut, left, failures), pa.Table.from_pylist(hits, HITS)


def _find_all(
    settings: DecontaminateSettings, known: Sequence[Grams], text: pa.ChunkedArray
) -> list[tuple[FoundGrams, Grams]]:
    """Find the n-grams of every size; those longer than `ngram` only in texts that hold a script without
    spaces."""
    words, bounds = cores_of(text)
    found = [(grams.find(words, bounds), grams) for grams in known if grams.n <= settings.ngram]
    if len(found) < len(known):
        unspaced = pc.fill_null(pc.match_substring_regex(text, UNSPACED), False).to_numpy()
        docs = np.flatnonzero(unspaced)
        words, bounds = cores_of(text.take(pa.array(docs)))
        for grams in known[len(found) :]:
            part = grams.find(words, bounds)
            found.append((FoundGrams(part.n, docs[part.doc], part.place, part.key), grams))
    return found


def _guilty(
    settings: DecontaminateSettings, grams: Grams, keys: npt.NDArray[np.int64], named: list[dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Measure the items whose n-grams a document holds: how many of them, the share of the item's words that
    they cover, and the longest stretch of it; return those that `min_share` makes hits."""
    entries = grams.entries(np.unique(keys))
    order = np.lexsort((grams.place[entries], grams.item[entries]))
    item, place = grams.item[entries][order], grams.place[entries][order]
    guilty = {}
    bounds = group_starts(item)
    for start, stop in itertools.pairwise(bounds.tolist()):
        step = np.diff(place[start:stop])
        covered = grams.n + int(np.minimum(step, grams.n).sum())
        broken = np.flatnonzero(step > 1)
        longest = int(np.diff(np.concatenate([[-1], broken, [len(step)]])).max()) + grams.n - 1
        share = covered / named[int(item[start])]["num_words"]
        if share >= settings.min_share:
            guilty[int(item[start])] = {"num_ngrams": stop - start, "share": share, "longest": longest}
    return guilty


def _spans(grams: Grams, found: FoundGrams, mine: slice, guilty: list[int]) -> list[tuple[int, int]]:
    """Return (place, n) of a document's n-grams that belong to guilty items."""
    keys = np.unique(found.key[mine])
    size = grams.start[keys + 1] - grams.start[keys]
    inside = np.isin(grams.item[grams.entries(keys)], guilty)
    bad = keys[np.add.reduceat(inside, np.cumsum(size) - size) > 0]
    places = found.place[mine][np.isin(found.key[mine], bad)]
    return [(place, found.n) for place in places.tolist()]


def _cut(
    settings: DecontaminateSettings, text: str, spans: list[tuple[int, int]]
) -> tuple[Edits, Failure | None]:
    """Cut n-grams with a window on either side, whole words, and what is left too short between; as GPT-3's
    appendix C."""
    words = words_of(pa.array([text], pa.large_string()))
    cored = np.flatnonzero(words.core_end > words.core_start)
    size = len(text.encode())
    place, n = np.array(spans, np.int64).T
    start, end = words.start[cored[place]], words.end[cored[place + n - 1]]
    first = np.searchsorted(words.start, start - settings.window_bytes)
    last = np.searchsorted(words.end, end + settings.window_bytes, "right") - 1
    edits = merge_edits(zip(words.start[first].tolist(), words.end[last].tolist(), strict=True))
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
