"""Count n-grams of words by map and reduce, and pack them into a table that is looked up in mapped memory.

    count_file(settings, documents, folder, seed, heldout_fraction)  # map: sorted runs, a few per file of
    documents
    merge_runs(settings, runs, part, parts, out)  # reduce: one range of keys over all runs, pruned
    write_table(settings, merged, folder, num_words)  # 9 bytes per n-gram: keys and quantised counts

An n-gram is known by 64 bits: a hash of its words' folded hashes, with its length in the lowest three bits.
At 10^9 distinct n-grams the chance that a given one meets another is below 10^-9.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.classifiers.settings import NgramSettings
from gristmill.heldout import for_training
from gristmill.storage import cut_by_bytes, read_tables
from gristmill.text.words import words_of

U64 = npt.NDArray[np.uint64]
COUNT = np.dtype([("key", "<u8"), ("count", "<u8")])
KEYS, CODES, CARD = "ngrams.keys", "ngrams.codes", "ngrams.json"
PART_RECORDS = (
    8_000_000  # of all runs together, that one merge should read: 128 MB, of which it holds a few copies
)
_RUN_RECORDS = 4_000_000  # counted before a run is written
_BATCH_BYTES = 4 << 20  # of text, counted at once
_LENGTH_BITS = 3
_CODES_PER_DOUBLING = 8  # a count is kept to within 4.5 %; 255 codes reach 2^31
_MULTIPLY, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one file of documents gave: its words, and runs of its n-grams."""

    num_words: int
    runs: tuple[Path, ...]
    num_records: int


def count_file(
    settings: NgramSettings, documents: Path, folder: Path, seed: int, heldout_fraction: float
) -> Counted:
    """Count the n-grams of one file's training documents; n-grams do not cross documents.

    Memory is that of one run, however large the file.
    """
    pending: list[npt.NDArray[Any]] = []
    runs: list[Path] = []
    num_words = num_records = 0

    def flush() -> None:
        nonlocal num_records
        merged = _merged(pending)
        runs.append(folder / f"{len(runs):05d}.run")
        merged.tofile(runs[-1])
        num_records += len(merged)
        pending.clear()

    for table in read_tables(documents):
        for batch in cut_by_bytes(for_training(table, seed, heldout_fraction), _BATCH_BYTES):
            words = words_of(batch["text"])
            num_words += len(words.hash_folded)
            pending.append(
                _distinct(np.concatenate(keys_by_length(words.hash_folded, words.rows, settings.order)))
            )
            if sum(map(len, pending)) >= _RUN_RECORDS:
                flush()
    if pending:
        flush()
    return Counted(num_words, tuple(runs), num_records)


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
    """Add a word on the right of n-grams."""
    with np.errstate(over="ignore"):
        mixed = (state ^ word) * _MULTIPLY
        return (mixed ^ (mixed >> np.uint64(32))) * _MIX


def finish(state: U64, length: int) -> U64:
    """The key of an n-gram: its hash, with the length in the lowest bits."""
    return ((state ^ (state >> np.uint64(29))) << np.uint64(_LENGTH_BITS)) | np.uint64(length - 1)


def merge_runs(
    settings: NgramSettings, runs: Sequence[Path], part: int, parts: int, out: Path
) -> dict[str, int]:
    """Add up one range of keys over all runs and prune; memory is that range's."""
    low, high = ((number << 64) // parts for number in (part, part + 1))
    pieces = []
    for path in runs:
        run = read_run(path)
        start = int(np.searchsorted(run["key"], np.uint64(low)))
        stop = len(run) if part == parts - 1 else int(np.searchsorted(run["key"], np.uint64(high)))
        pieces.append(run[start:stop])
    merged = _merged(pieces)
    single = (merged["key"] & np.uint64((1 << _LENGTH_BITS) - 1)) == 0
    kept = merged[single | (merged["count"] >= settings.min_count)]
    kept.tofile(out)
    return {"ngrams": len(merged), "kept": len(kept)}


def write_table(
    settings: NgramSettings, merged: Sequence[Path], folder: Path, num_words: int
) -> dict[str, Any]:
    """Pack merged ranges, in order of keys, into `ngrams.keys`, `ngrams.codes` and `ngrams.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    with (folder / KEYS).open("wb") as keys, (folder / CODES).open("wb") as codes:
        for path in merged:
            run = read_run(path)
            np.ascontiguousarray(run["key"]).tofile(keys)
            quantise(run["count"]).tofile(codes)
            total += len(run)
    card = {
        "order": settings.order,
        "backoff": settings.backoff,
        "words": num_words,
        "ngrams": total,
        "min_count": settings.min_count,
    }
    (folder / CARD).write_text(json.dumps(card, sort_keys=True) + "\n")
    return card


def quantise(counts: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A count as one byte, eight steps to a doubling; code 0 is for n-grams that are not there."""
    codes = 1 + np.rint(_CODES_PER_DOUBLING * np.log2(counts.astype(np.float64)))
    return np.asarray(np.clip(codes, 1, 255), np.uint8)


def code_values() -> npt.NDArray[np.float64]:
    """The count that each code stands for."""
    values: npt.NDArray[np.float64] = np.exp2((np.arange(256) - 1) / _CODES_PER_DOUBLING)
    values[0] = 0.0
    return values


def read_run(path: Path) -> npt.NDArray[Any]:
    return np.memmap(path, COUNT, "r") if path.stat().st_size else np.empty(0, COUNT)


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
