"""DCLM's deduplication by contained n-grams (BFF, `old-both`), over any number of shards and exactly.

BFF walks through a corpus with one Bloom filter of n-grams: a paragraph more than `threshold` of whose
n-grams the filter holds is cut, the others' n-grams are put into it; a document of which more than
`threshold` of all n-grams were held is removed. Here the walk is in the order of ids, whatever the files: an
n-gram counts as held where it occurs in an earlier document, or in an earlier paragraph of its own. Two
things differ: nothing is held by accident (BFF: one n-gram in a hundred), and the n-grams of a paragraph that
is cut are held, too: under a fifth of them are new.

How a stage calls this; each call is one task:

    for shard in shards: map_ngrams(settings, shard.path, shard.first_row, runs)
    for part in range(parts): find_held(settings, runs of all, *key_range(part, parts), held)
    for shard in shards: apply_held(settings, shard.path, shard.first_row, held of all)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.below.cuts import Edits, Failure, cut_documents, merge_edits, without
from gristmill.dedup.decisions import Applied
from gristmill.dedup.order import Numbers, scope_hashes, split_ids
from gristmill.dedup.settings.parts import ContainedSettings
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, read_range, sort_columns, write_run
from gristmill.dedup.sorted.shards import num_rows, read_batches
from gristmill.text.words import text_spans, words_of

PART_RECORDS = 4_000_000  # n-grams per reduce task: 28 bytes each, twice while sorting
_COLUMNS = ("key", "id_high", "row", "paragraph")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_NEWLINE = 0x0A


def ngrams_of(settings: ContainedSettings, text: pa.ChunkedArray) -> tuple[Numbers, Numbers, Numbers]:
    """Return the hash of every n-gram of a column's texts with its text's number and its paragraph's.

    A paragraph is what lies between newlines; one with fewer words than `ngram`, but `min_words` at least,
    has one n-gram of all its words.
    """
    words = words_of(text)
    starts, _, data = text_spans(text)
    num = np.diff(words.rows)
    doc = np.repeat(np.arange(len(num)), num)
    newlines = np.flatnonzero(data == _NEWLINE)
    before = np.searchsorted(newlines, starts)
    line = np.searchsorted(newlines, words.start) - before[doc]
    first = np.ones(len(doc), bool)  # words that a paragraph begins with
    first[1:] = (doc[1:] != doc[:-1]) | (line[1:] != line[:-1])
    places = np.flatnonzero(first)
    sizes = np.diff(np.append(places, len(doc)))
    hashes, chosen = [], []
    for size in (*range(settings.min_words, settings.ngram), settings.ngram):
        if size == settings.ngram:
            last = np.repeat(places + sizes - size, sizes)  # of the n-grams of each word's paragraph
            at = np.flatnonzero(np.arange(len(doc)) <= last)
        else:
            at = places[sizes == size]
        rolled = np.zeros(len(at), np.uint64)
        for step in range(size):
            rolled = rolled * _FACTOR + words.hash_exact[at + step]
        hashes.append(_mix(rolled + np.uint64(size)))
        chosen.append(at)
    at = np.concatenate(chosen)
    return np.concatenate(hashes), doc[at].astype(np.uint64), line[at].astype(np.uint64)


def _mix(h: Numbers) -> Numbers:
    """MurmurHash3's 64-bit finaliser: key ranges share the work by the high bits."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


def map_ngrams(settings: ContainedSettings, path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write every n-gram of a shard as a sorted run: its hash, its document's place in the order, its
    paragraph."""
    waiting: list[Columns] = []
    row = first_row
    for table in read_batches(path, ["id", "source", "text", settings.scope]):
        key, doc, paragraph = ngrams_of(settings, table["text"])
        own = doc.astype(np.int64)
        scope = scope_hashes(settings.scope, table)[own]
        id_high = split_ids(table["id"])[0][own]
        columns = (key ^ scope, id_high, doc + np.uint64(row), paragraph.astype(np.uint32))
        waiting.append(dict(zip(_COLUMNS, columns, strict=True)))
        row += len(table)
    joined = {name: concat([part[name] for part in waiting]) for name in _COLUMNS}
    write_run(out, sort_columns({**joined, "key": joined["key"].astype(np.uint64)}))
    return {"documents": row - first_row, "ngrams": len(joined["key"])}


def find_held(
    settings: ContainedSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, int]:
    """Write, by row, the paragraph of each n-gram in [low, high) that occurs in an earlier place."""
    columns = read_range([SortedRun(path) for path in paths], low, high, _COLUMNS)
    order = np.lexsort([columns[name] for name in ("paragraph", "row", "id_high", "key")])
    columns = {name: column[order] for name, column in columns.items()}
    new = np.ones(len(order), bool)
    new[1:] = columns["key"][1:] != columns["key"][:-1]
    first = np.flatnonzero(new)[np.cumsum(new) - 1]
    held = (columns["row"] != columns["row"][first]) | (columns["paragraph"] != columns["paragraph"][first])
    write_run(out, sort_columns({name: columns[name][held] for name in ("row", "paragraph")}))
    return {"held": int(held.sum())}


def apply_held(
    settings: ContainedSettings, path: Path, first_row: int, runs: Sequence[Path]
) -> Iterator[Applied]:
    """Cut a shard's paragraphs and remove its documents that hold too much of what came before."""
    read = [SortedRun(run) for run in runs]
    found = sort_columns(read_range(read, first_row, first_row + num_rows(path), ("row", "paragraph")))
    row = first_row
    for table in read_batches(path):
        low, high = np.searchsorted(found["row"], np.array([row, row + len(table)], np.uint64))
        held = _by_paragraph(found["row"][low:high] - np.uint64(row), found["paragraph"][low:high])
        _, doc, paragraph = ngrams_of(settings, table["text"])
        every = _by_paragraph(doc, paragraph)
        yield _apply(settings, table, held, every)
        row += len(table)


def _by_paragraph(
    doc: npt.NDArray[np.integer], paragraph: npt.NDArray[np.integer]
) -> dict[int, dict[int, int]]:
    """Count n-grams by document and paragraph."""
    keys, counts = np.unique(
        np.stack([doc.astype(np.int64), paragraph.astype(np.int64)], axis=1), axis=0, return_counts=True
    )
    found: dict[int, dict[int, int]] = {}
    for (own, place), count in zip(keys.tolist(), counts.tolist(), strict=True):
        found.setdefault(own, {})[place] = count
    return found


def _apply(
    settings: ContainedSettings,
    table: pa.Table,
    held: dict[int, dict[int, int]],
    every: dict[int, dict[int, int]],
) -> Applied:
    edits: list[Edits] = []
    num_cut: list[int] = []
    left: list[str | None] = []
    failures: list[Failure | None] = []
    for number, text in enumerate(table["text"].to_pylist()):
        total, mine = every.get(number, {}), held.get(number, {})
        share = sum(mine.values()) / sum(total.values()) if total else 0.0
        doomed = [place for place, count in mine.items() if count / total[place] > settings.threshold]
        cut = doomed if settings.remove != "document" else []
        edits.append(_ranges(text or "", cut))
        num_cut.append(len(cut))
        left.append(without(text, edits[-1]))
        failures.append(_failed(settings, share, left[-1], bool(cut)))
    return cut_documents(table, edits, num_cut, left, failures)


def _ranges(text: str, doomed: Sequence[int]) -> Edits:
    """The bytes of some paragraphs, each with the newline before it; those that a text begins with, with the
    one behind."""
    if not doomed:
        return []
    lines = text.encode().split(b"\n")
    ends = np.cumsum([len(line) + 1 for line in lines]).tolist()
    ranges = []
    leading = 0  # paragraphs that the text begins with and that go
    for place in sorted(doomed):
        start = ends[place] - len(lines[place]) - 1
        leading += place == leading
        whole = (start, min(ends[place], ends[-1] - 1))
        ranges.append(whole if place < leading else (start - 1, ends[place] - 1))
    return merge_edits(ranges)


def _failed(settings: ContainedSettings, share: float, text: str | None, was_cut: bool) -> Failure | None:
    if settings.remove != "paragraph" and share > settings.threshold:
        return "dedup.ngrams.held_fraction", share, settings.threshold
    length = len((text or "").strip())
    if was_cut and length < settings.min_characters:
        return "dedup.ngrams.min_characters", float(length), float(settings.min_characters)
    return None
