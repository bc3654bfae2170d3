"""Count n-grams of words by map and reduce, and pack them into a table that is looked up in mapped memory.

    count_file(settings, documents, folder, seed, heldout_fraction)  # map: sorted runs, a few per file of
    documents
    merge_runs(settings, runs, part, parts, out)  # reduce: one range of keys over all runs, pruned
    write_table(settings, merged, folder, num_words)  # 8 bytes per n-gram, see `ngram_lines`

An n-gram is known by 64 bits: a hash of its words' folded hashes, with its length in the lowest three bits.
At 10^9 distinct n-grams the chance that a given one meets another is below 10^-9. Words are those with a
core: bare punctuation is none.

For Kneser and Ney's estimate, which needs to know what an n-gram stands between, `kneser_ney` counts and
merges instead.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.arrays import write_array
from gristmill.classifiers.ngram.table_lines import LineWriter
from gristmill.classifiers.settings import NgramSettings
from gristmill.files.storage import cut_by_bytes, read_tables
from gristmill.heldout import for_training
from gristmill.splitmix import GOLDEN, finalise
from gristmill.text.cores import cores_of

U64 = npt.NDArray[np.uint64]
COUNT = np.dtype([("key", "<u8"), ("count", "<u8")])
LINES, CARD = "ngrams.lines", "ngrams.json"
FORMAT = 2  # of a table's folder
PART_RECORDS = (
    8_000_000  # of all runs together, that one merge should read: 128 MB, of which it holds a few copies
)
_RUN_RECORDS = 4_000_000  # counted before a run is written
_BATCH_BYTES = 4 << 20  # of text, counted at once
_LENGTH_BITS = 3
MOST_WORDS = 1 << _LENGTH_BITS  # of an n-gram
_CODES_PER_DOUBLING = 8  # a count is kept to within 4.5 %; 255 codes reach 2^31


@dataclass(frozen=True, slots=True)
class Counted:
    """What one file of documents gave: its words, and runs of its n-grams."""

    num_words: int
    runs: tuple[Path, ...]
    num_records: int
    languages: Counter[str]  # words of each; "" is unknown


def count_file(
    settings: NgramSettings, documents: Path, folder: Path, seed: int, heldout_fraction: float
) -> Counted:
    """Count the n-grams of one file's training documents; n-grams do not cross documents.

    Memory is that of one run, however large the file.
    """
    collected = Collected(folder, _merged)
    for batch in training_batches(documents, seed, heldout_fraction):
        hashes, rows = collected.words_of(batch)
        collected.add(_distinct(np.concatenate(keys_by_length(hashes, rows, settings.order))))
    return collected.done()


def training_batches(documents: Path, seed: int, heldout_fraction: float) -> Iterator[pa.Table]:
    """Read the documents that are not held out, a few megabytes of text at a time."""
    for table in read_tables(documents):
        yield from cut_by_bytes(for_training(table, seed, heldout_fraction), _BATCH_BYTES)


class Collected:
    """What is counted of one file: records gathered until a run of them is full, and words by language."""

    def __init__(self, folder: Path, merge: Callable[[Sequence[npt.NDArray[Any]]], npt.NDArray[Any]]) -> None:
        self._folder, self._merge = folder, merge
        self._pending: list[npt.NDArray[Any]] = []
        self._runs: list[Path] = []
        self._num_records = 0
        self._languages: Counter[str] = Counter()

    def words_of(self, batch: pa.Table) -> tuple[U64, npt.NDArray[np.int64]]:
        hashes, rows = cores_of(batch["text"])
        names = batch["language"].to_pylist() if "language" in batch.schema.names else [None] * batch.num_rows
        for language, count in zip(names, np.diff(rows).tolist(), strict=True):
            if count:
                self._languages[language or ""] += count
        return hashes, rows

    def add(self, records: npt.NDArray[Any]) -> None:
        self._pending.append(records)
        if sum(map(len, self._pending)) >= _RUN_RECORDS:
            self._flush()

    def done(self) -> Counted:
        if self._pending:
            self._flush()
        words = sum(self._languages.values())
        return Counted(words, tuple(self._runs), self._num_records, self._languages)

    def _flush(self) -> None:
        merged = self._merge(self._pending)
        self._runs.append(self._folder / f"{len(self._runs):05d}.run")
        write_array(self._runs[-1], merged)
        self._num_records += len(merged)
        self._pending.clear()


def keys_by_length(hashes: U64, rows: npt.NDArray[np.int64], order: int) -> list[U64]:
    """The keys of all n-grams within texts, for n = 1 to `order`; text i has the words rows[i] to rows[i +
    1]."""
    ends = np.repeat(rows[1:], np.diff(rows))  # where the text of each word ends
    place = np.arange(len(hashes))
    state, found = np.zeros(len(hashes), np.uint64), []
    for length in range(1, order + 1):
        inside = place + length <= ends
        state, place, ends = state[inside], place[inside], ends[inside]
        state = extend(state, hashes[place + length - 1])
        found.append(finish(state, length))
    return found


def extend(state: U64, word: U64) -> U64:
    """Add a word on the right of n-grams: splitmix64's finaliser, in which every bit turns every other."""
    with np.errstate(over="ignore"):
        return finalise((state ^ word) + GOLDEN)


def finish(state: U64, length: int) -> U64:
    """The key of an n-gram: its hash, with the length in the lowest bits."""
    return (state << np.uint64(_LENGTH_BITS)) | np.uint64(length - 1)


def lengths_of(keys: U64) -> npt.NDArray[np.int64]:
    """How many words the n-gram of each key has."""
    return (keys & np.uint64((1 << _LENGTH_BITS) - 1)).astype(np.int64) + 1


def merge_runs(
    settings: NgramSettings, runs: Sequence[Path], part: int, parts: int, out: Path
) -> dict[str, int]:
    """Add up one range of keys over all runs and prune; memory is that range's."""
    merged = _merged([between(read_run(path, COUNT), part, parts) for path in runs])
    kept = merged[(lengths_of(merged["key"]) == 1) | (merged["count"] >= settings.min_count)]
    write_array(out, kept)
    return {"ngrams": len(merged), "kept": len(kept)}


def between(run: npt.NDArray[Any], part: int, parts: int) -> npt.NDArray[Any]:
    """The records of a sorted run in one of `parts` equal ranges of keys."""
    low, high = ((number << 64) // parts for number in (part, part + 1))
    start = int(np.searchsorted(run["key"], np.uint64(low)))
    stop = len(run) if part == parts - 1 else int(np.searchsorted(run["key"], np.uint64(high)))
    return run[start:stop]


def write_table(
    settings: NgramSettings,
    merged: Sequence[Path],
    folder: Path,
    num_words: int,
    languages: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Pack merged ranges, in order of keys, into a folder: the lines of a table, and `ngrams.json`."""
    sizes = pack(merged, COUNT, ("count",), folder)
    return write_card(settings, folder, {"words": num_words, **sizes}, languages)


def pack(merged: Sequence[Path], kind: np.dtype[Any], fields: Sequence[str], folder: Path) -> dict[str, int]:
    """Write n-grams with the quantised values of some fields; return how many n-grams and lines they are."""
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(path.stat().st_size for path in merged) // kind.itemsize
    writer = LineWriter(folder / LINES, total, len(fields))
    for path in merged:
        run = read_run(path, kind)
        writer.write(run["key"], quantise(np.stack([run[field] for field in fields], axis=1)))
    writer.close()
    return {"ngrams": total, "lines": writer.num_lines}


def write_card(
    settings: NgramSettings, folder: Path, facts: Mapping[str, Any], languages: Mapping[str, int] | None
) -> dict[str, Any]:
    card = {
        "format": FORMAT,
        "order": settings.order,
        "backoff": settings.backoff,
        "min_count": settings.min_count,
        "smoothing": settings.smoothing,
        "languages": dict(sorted(languages.items())) if languages is not None else None,
        **facts,
    }
    (folder / CARD).write_text(json.dumps(card, sort_keys=True) + "\n")
    return card


def quantise(counts: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A count as one byte, eight steps to a doubling; code 0 is for none."""
    codes = 1 + np.rint(_CODES_PER_DOUBLING * np.log2(np.maximum(counts.astype(np.float64), 1)))
    return np.where(counts > 0, np.clip(codes, 1, 255), 0).astype(np.uint8)


def code_values() -> npt.NDArray[np.float64]:
    """The count that each code stands for."""
    values: npt.NDArray[np.float64] = np.exp2((np.arange(256) - 1) / _CODES_PER_DOUBLING)
    values[0] = 0.0
    return values


def read_run(path: Path, kind: np.dtype[Any] = COUNT) -> npt.NDArray[Any]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)


def _distinct(keys: U64) -> npt.NDArray[Any]:
    """Count equal keys."""
    ordered = np.sort(keys)
    starts = _starts(ordered)
    found = np.empty(len(starts), COUNT)
    found["key"] = ordered[starts]
    found["count"] = np.diff(np.append(starts, len(ordered)))
    return found


def _merged(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Add up the counts of equal keys over sorted runs."""
    if not parts:
        return np.empty(0, COUNT)
    keys = np.concatenate([part["key"] for part in parts])
    order = np.argsort(keys)
    keys = keys[order]
    starts = _starts(keys)
    found = np.empty(len(starts), COUNT)
    found["key"] = keys[starts]
    counts = np.concatenate([part["count"] for part in parts])[order]
    found["count"] = np.add.reduceat(counts, starts) if len(starts) else 0
    return found


def _starts(ordered: U64) -> npt.NDArray[np.int64]:
    """Where each stretch of equal keys begins."""
    return (
        np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        if len(ordered)
        else np.empty(0, np.int64)
    )
