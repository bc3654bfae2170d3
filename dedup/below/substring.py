"""Exact substring deduplication over the whole corpus, by hashed windows.

Text of n words in a row (or n bytes) that occurs anywhere before, in the order of ids, is cut, so one copy
stays. Two passes: in the first every text gives fingerprints, of each window of n units the smallest hash of
n / 2 in a row (winnowing, Schleimer et al. 2003), so that two equal windows have an equal one; those that
occur twice in the corpus are kept. In the second every window whose fingerprint is among them gives a hash of
its very bytes, 128 bits; of equal ones all but the first are cut. What overlaps is cut as one, so that a
repeat of any length goes whole. No task holds more than its range of hashes.

How a stage calls this; each call is one task:

    for shard in shards:                                                          # 1. fingerprints
        map_fingerprints(settings, shard.path, shard.first_row, fingerprints)
    for part in range(parts): find_repeated(settings, fingerprints of all, *key_range(part, parts), repeated)
    for shard in shards:                                                          # 2. windows
        map_windows(settings, shard.path, shard.first_row, repeated of all, windows)
    for part in range(parts): find_cuts(settings, windows of all, *key_range(part, parts), cuts)
    for shard in shards: apply_substring(settings, shard.path, shard.first_row, cuts)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.below.cuts import Edits, Failure, cut_documents, merge_edits, without
from gristmill.dedup.below.windows import byte_units, hash_windows, smallest_of_windows, word_units
from gristmill.dedup.decisions import Applied
from gristmill.dedup.order import Numbers, split_ids
from gristmill.dedup.settings.parts import SubstringSettings
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, read_range, sort_columns, write_run
from gristmill.dedup.sorted.shards import num_rows, read_batches

PART_RECORDS = 4_000_000  # per reduce task: 56 bytes each, twice while sorting
_WINDOW = ("key", "check", "id_high", "id_low", "row", "start", "stop")


@dataclass(frozen=True)
class _Windows:
    """The windows of a batch of texts: where each begins and ends in its text, which document it is of, and
    its fingerprint."""

    first: npt.NDArray[np.int64]  # the unit that a window begins with
    doc: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    fingerprint: Numbers
    place: npt.NDArray[np.int64]  # of the fingerprint, so that each is counted once
    hashes: tuple[Numbers, Numbers]


def _windows(settings: SubstringSettings, text: pa.ChunkedArray) -> _Windows:
    n = settings.min_bytes or settings.min_tokens
    units = byte_units(text) if settings.min_bytes else word_units(text)
    k = max(1, n // 2)
    prints = hash_windows(units, k, 0)
    place = smallest_of_windows(prints, units.bounds, n, k)
    first = np.flatnonzero(place >= 0)
    doc = np.searchsorted(units.bounds, first, "right") - 1
    place = place[first]
    fingerprints = prints[place]
    hashes = (hash_windows(units, n, 1)[first], hash_windows(units, n, 2)[first])
    base = units.base[doc]
    ends = (units.start[first] - base, units.end[first + n - 1] - base)
    return _Windows(first, doc, *ends, fingerprints, place, hashes)


def map_fingerprints(settings: SubstringSettings, path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write the distinct fingerprints of a shard, and whether each occurs in it more than once."""
    parts = []
    text_bytes = 0
    for table in read_batches(path, ["text"]):
        windows = _windows(settings, table["text"])
        parts.append(windows.fingerprint[np.unique(windows.place, return_index=True)[1]])
        text_bytes += sum(len(value.encode()) for value in table["text"].to_pylist() if value)
    key, count = np.unique(concat(parts).astype(np.uint64), return_counts=True)
    write_run(out, {"key": key, "often": (count > 1).astype(np.uint8)})
    return {"fingerprints": len(key), "text_bytes": text_bytes}


def find_repeated(settings: Any, paths: Sequence[Path], low: int, high: int, out: Path) -> dict[str, int]:
    """Write the fingerprints in [low, high) that occur more than once in all shards."""
    columns = read_range([SortedRun(path) for path in paths], low, high, ("key", "often"))
    key, place, count = np.unique(columns["key"], return_inverse=True, return_counts=True)
    often = np.zeros(len(key), bool)
    np.logical_or.at(often, place, columns["often"].astype(bool))
    write_run(out, {"key": key[often | (count > 1)]})
    return {"repeated": int((often | (count > 1)).sum())}


def map_windows(
    settings: SubstringSettings, path: Path, first_row: int, repeated: Sequence[Path], out: Path
) -> dict[str, int]:
    """Write the hashes of a shard's windows whose fingerprint is repeated, as `out`.0 and so on, each of some
    millions."""
    known = [SortedRun(run) for run in repeated]
    waiting: list[Columns] = []
    count, files, row = 0, 0, first_row
    for table in read_batches(path, ["id", "text"]):
        windows = _windows(settings, table["text"])
        chosen = np.flatnonzero(among(known, windows.fingerprint))
        doc = windows.doc[chosen]
        id_high, id_low = split_ids(table["id"])
        columns = (
            *(part[chosen] for part in windows.hashes),
            *(id_high[doc], id_low[doc], (doc + row).astype(np.uint64)),
            *(places[chosen].astype(np.uint64) for places in (windows.start, windows.stop)),
        )
        waiting.append(dict(zip(_WINDOW, columns, strict=True)))
        count, row = count + len(chosen), row + len(table)
        if sum(len(part["key"]) for part in waiting) > PART_RECORDS:
            files, waiting = _flush(waiting, out, files), []
    return {"windows": count, "files": _flush(waiting, out, files)}


def _flush(waiting: Sequence[Columns], out: Path, files: int) -> int:
    columns = {name: concat([part[name] for part in waiting]) for name in _WINDOW}
    write_run(out.with_suffix(f".{files}"), sort_columns(columns))
    return files + 1


def among(known: Sequence[SortedRun], keys: Numbers) -> npt.NDArray[np.bool_]:
    """Say which keys are in one of some runs of rising ranges."""
    distinct, place = np.unique(keys, return_inverse=True)
    found = np.zeros(len(distinct), bool)
    for run in known:
        if len(run):
            at = np.minimum(np.searchsorted(run.key, distinct), len(run) - 1)
            found |= run.key[at] == distinct
    return found[place]


def find_cuts(
    settings: SubstringSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, int]:
    """Write the byte ranges to cut, by row, of the windows whose hash lies in [low, high): of equal ones all
    but the first."""
    columns = read_range([SortedRun(path) for path in paths], low, high, _WINDOW)
    order = np.lexsort([columns[name] for name in ("start", "row", "id_low", "id_high", "check", "key")])
    columns = {name: column[order] for name, column in columns.items()}
    again = np.zeros(len(order), bool)
    again[1:] = (columns["key"][1:] == columns["key"][:-1]) & (columns["check"][1:] == columns["check"][:-1])
    write_run(out, sort_columns({name: columns[name][again] for name in ("row", "start", "stop")}))
    return {"repeats": int(again.sum())}


def apply_substring(
    settings: SubstringSettings, path: Path, first_row: int, cuts: Sequence[Path]
) -> Iterator[Applied]:
    """Cut the repeated ranges out of a shard's texts; a document of which too little is left is removed with
    its whole text."""
    found = sort_columns(
        read_range(
            [SortedRun(run) for run in cuts], first_row, first_row + num_rows(path), ("row", "start", "stop")
        )
    )
    row = first_row
    for table in read_batches(path):
        edits: list[Edits] = [[] for _ in range(len(table))]
        texts = table["text"].to_pylist()
        low, high = np.searchsorted(found["row"], np.array([row, row + len(table)], np.uint64))
        places, starts, stops = (found[name][low:high].tolist() for name in ("row", "start", "stop"))
        for place, start, stop in zip(places, starts, stops, strict=True):
            edits[place - row].append((start, stop))
        edits = [
            _whole_characters(settings, text, merge_edits(ranges)) if ranges else []
            for text, ranges in zip(texts, edits, strict=True)
        ]
        left = [without(text, ranges) for text, ranges in zip(texts, edits, strict=True)]
        failures = [
            _failed(settings, text) if ranges else None for text, ranges in zip(left, edits, strict=True)
        ]
        yield cut_documents(table, edits, [len(ranges) for ranges in edits], left, failures)
        row += len(table)


def _whole_characters(settings: SubstringSettings, text: str, ranges: Edits) -> Edits:
    """Shrink ranges of bytes to whole characters; what is then too short stays."""
    if not settings.min_bytes:
        return ranges
    data = text.encode()
    whole = []
    for start, stop in ranges:
        while start < stop and data[start] & 0xC0 == 0x80:
            start += 1
        while stop > start and stop < len(data) and data[stop] & 0xC0 == 0x80:
            stop -= 1
        if stop - start >= settings.min_bytes:
            whole.append((start, stop))
    return whole


def _failed(settings: SubstringSettings, text: str | None) -> Failure | None:
    length = len((text or "").strip())
    return (
        ("dedup.substring.min_characters", float(length), float(settings.min_characters))
        if length < settings.min_characters
        else None
    )
