"""Fuzzy substrings: passages that occur before, but for a few changed words, are cut; one copy stays.

Places of the corpus that share seeds (see `seeds`) are linked, links that go on from each other are chained,
and along each chain the words of both documents are aligned (see `align`): what of the later one has less
than a share of edits is cut where it has `min_bytes` or more. Later is said of the order of ids, and within a
document of the order of the text. No task holds more than `memory_bytes`, except one document's words.

How a stage calls this; each call is one task and reads the files of the one before:

    for shard in shards: map_prints(settings, shard.path, shard.first_row, prints)             # keys of seeds
    for part in range(parts): find_repeated(settings, prints, *key_range(part, parts), repeated)
    for shard in shards: map_seeds(settings, shard.path, shard.first_row, repeated, seeds)     # their places
    for part in range(parts): find_links(settings, seeds, *key_range(part, parts), links)
    for shard in shards: find_chains(settings, shard.path, shard.first_row, links, chains)     # of its rows
    for shard in shards: gather_words(settings, shard.path, shard.first_row, chains, words)    # for others
    for shard in shards: apply_passages(settings, shard.path, shard.first_row, words)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.below.align import Scoring, align
from gristmill.dedup.below.cuts import CUTS, Edits, Failure, cut_documents, merge_edits, without
from gristmill.dedup.below.passage_links import CHAIN, SLIP_WORDS, chunks, read_chunk
from gristmill.dedup.below.seeds import SEED_WORDS, FoldedWords, folded_words
from gristmill.dedup.decisions import Applied
from gristmill.dedup.order import Numbers, join_ids, split_ids
from gristmill.dedup.settings.parts import PassageSettings
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, key_slices
from gristmill.dedup.sorted.shards import read_batches
from gristmill.dedup.sorted.spill import Spill

PAD_WORDS = 64  # of the earlier document, before a chain's first seed and after its last
_WORDS: Mapping[str, npt.DTypeLike] = {
    "row": np.uint64,
    "id_high": np.uint64,
    "id_low": np.uint64,
    "own": np.int64,  # where the words begin in the document itself; -1 where they are of another one
    "first": np.uint32,
    "last": np.uint32,
    "slip": np.int64,
    "length": np.uint32,
}
PASSAGE_CUTS = CUTS.append(pa.field("kept_in", pa.list_(pa.binary(16)), nullable=False))


AT_A_TIME = 1 << 16  # chains whose words are gathered or aligned in one go


def gather_words(
    settings: PassageSettings, path: Path, first_row: int, chains: Sequence[Path], out: Path
) -> dict[str, int]:
    """Write the words of a shard's documents that chains of later ones are aligned with, by the later one's
    row."""
    runs = [SortedRun(run) for run in chains]
    files = Spill(out, _WORDS, settings.memory_bytes // 4, ("words", np.uint32))
    row = first_row
    for table in read_batches(path, ["id", "text"]):
        for low, high in key_slices(runs, row, row + len(table), AT_A_TIME):
            for chunk in chunks(runs, low, high, AT_A_TIME):
                asked = read_chunk(chunk, CHAIN)
                rows, doc = np.unique(asked["source"], return_inverse=True)
                files.add(*_asked_words(asked, doc, table.take(pa.array(rows - np.uint64(row)))))
        row += len(table)
    return {"gathered": files.count, "files": files.close()}


def _asked_words(
    asked: Columns, doc: npt.NDArray[np.int64], documents: pa.Table
) -> tuple[tuple[npt.NDArray, ...], list[npt.NDArray]]:
    """The record and the words for each chain, of which `doc` says the earlier document."""
    words = folded_words(documents["text"])
    id_high, id_low = split_ids(documents["id"])
    first, last = asked["source_first"].astype(np.int64), asked["source_last"].astype(np.int64)
    start = np.maximum(first - PAD_WORDS, 0)
    end = np.minimum(last + SEED_WORDS + PAD_WORDS, np.diff(words.bounds)[doc])
    slip = first - start - asked["first"].astype(np.int64)
    own = np.where(asked["source"] == asked["row"], start, -1)
    record = (asked["row"], id_high[doc], id_low[doc], own, asked["first"], asked["last"], slip, end - start)
    return record, [words.part(i, a, b).copy() for i, a, b in zip(doc, start, end, strict=True)]


def apply_passages(
    settings: PassageSettings, path: Path, first_row: int, gathered: Sequence[Path]
) -> Iterator[Applied]:
    """Cut the passages of a shard's documents that earlier ones hold; a document of which too little is left
    is removed with its whole text."""
    runs = [SortedRun(run) for run in gathered]
    row = first_row
    for table in read_batches(path):
        found: dict[int, list[_Copy]] = {}
        for low, high in key_slices(runs, row, row + len(table), AT_A_TIME):
            spans = [(run, run.span(low, high)) for run in runs]
            rows = np.unique(concat([run.read_key(span) for run, span in spans])) - np.uint64(row)
            words = folded_words(table["text"].take(pa.array(rows)))
            for run, span in spans:
                if span.start < span.stop:
                    _find_copies(settings, words, rows + np.uint64(row), run, span, found)
        yield _apply(settings, table, {number - row: copies for number, copies in found.items()})
        row += len(table)


@dataclass(frozen=True, order=True, slots=True)
class _Copy:
    """Bytes start:end of a text that an earlier document holds; longer ones first, then by the document."""

    start: int
    end: int
    kept_in: bytes


def _find_copies(
    settings: PassageSettings,
    words: FoldedWords,
    rows: Numbers,
    run: SortedRun,
    span: slice,
    found: dict[int, list[_Copy]],
) -> None:
    """Align the chains of a span with the words of their documents, and add what is copied, by row."""
    scoring = Scoring.of(settings.max_edit_fraction, settings.max_gap_words, SEED_WORDS, SLIP_WORDS)
    columns = {name: run.read(name, span) for name in _WORDS}
    docs = np.searchsorted(rows, columns["row"])
    ids = join_ids(columns["id_high"], columns["id_low"]).to_pylist()
    ends = run.read("end", span).astype(np.int64)
    starts = ends - columns["length"]
    packed = run.columns["words"]
    for place, id_ in enumerate(ids):
        row = int(columns["row"][place])
        doc = int(docs[place])
        mine, base = words.part(doc), int(words.bounds[doc])
        known = np.ascontiguousarray(packed[starts[place] : ends[place]])
        first, last, slip = (int(columns[name][place]) for name in ("first", "last", "slip"))
        own = int(columns["own"][place])
        for start, end, _of, to in align(mine, known, first, last, slip, scoring).tolist():
            if own >= 0 and own + to > start:  # it overlaps with its own copy
                continue
            a, b = int(words.start[base + start]), int(words.end[base + end - 1])
            if b - a >= settings.min_bytes:
                found.setdefault(row, []).append(_Copy(a, b, id_))


def _apply(settings: PassageSettings, table: pa.Table, found: dict[int, list[_Copy]]) -> Applied:
    texts = table["text"].to_pylist()
    copies = [found.get(number, []) for number in range(len(table))]
    edits = [merge_edits((copy.start, copy.end) for copy in one) for one in copies]
    left = [without(text, ranges) for text, ranges in zip(texts, edits, strict=True)]
    failures = [_failed(settings, text) if ranges else None for text, ranges in zip(left, edits, strict=True)]
    applied = cut_documents(table, edits, [len(ranges) for ranges in edits], left, failures)
    kept_in = [_holders(one, ranges) for one, ranges in zip(copies, edits, strict=True)]
    named = pa.array(kept_in, PASSAGE_CUTS.field("kept_in").type)
    return Applied(
        applied.bytes_in,
        applied.kept,
        applied.removed,
        pa.table([*applied.decisions.columns, named], schema=PASSAGE_CUTS),
    )


def _holders(copies: Sequence[_Copy], ranges: Edits) -> list[bytes]:
    """For each range that is cut the document that holds most of it in one passage."""
    holders = []
    for start, end in ranges:
        inside = (copy for copy in copies if start <= copy.start and copy.end <= end)
        holders.append(
            min(inside, key=lambda copy: (copy.start - copy.end, copy.start, copy.kept_in)).kept_in
        )
    return holders


def _failed(settings: PassageSettings, text: str | None) -> Failure | None:
    length = len((text or "").strip())
    if length >= settings.min_characters:
        return None
    return "dedup.passages.min_characters", float(length), float(settings.min_characters)
