"""Exact substring deduplication over groups of documents, by suffix arrays.

Documents are grouped and ordered by id, so that neither shards nor their order matter. Within a group, a
stretch of text that occurs anywhere before is cut, so one copy stays. Texts of different groups are not
compared: this is the last stage, over what other stages have kept. A whole group is in memory, with about 25
bytes for each of text.

How a stage calls this; each call is one task:

    for shard in shards:                                                              # map
        map_texts(shard.path, shard.first_row, scratch / f"{shard.name}.texts")
    for part in range(num_parts(total_bytes, settings.group_bytes)):  # reduce: one suffix array each
        find_repeats(settings, texts, *key_range(part, parts), scratch / f"{part}.cuts")
    for shard in shards:                                                              # apply
        apply_substring(settings, shard.path, shard.first_row, cuts)  # batches of kept, removed, decisions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit, types

from gristmill.dedup.cuts import Edits, Failure, cut_documents, merge_edits, without
from gristmill.dedup.decisions import Applied
from gristmill.dedup.order import Numbers, split_ids
from gristmill.dedup.radix import argsort
from gristmill.dedup.runs import Run, concat, read_range, sort_columns, write_run
from gristmill.dedup.settings import SubstringSettings
from gristmill.dedup.shards import num_rows, read_batches
from gristmill.text.words import scan, text_spans

I64 = types.Array(types.int64, 1, "C")
_SEPARATOR = 0xFF  # no byte of UTF-8: a match that crosses a document's end is cut there
_SCAN_BYTES = 16 << 20


def map_texts(path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write a shard's texts as a run sorted by id."""
    ids: list[tuple[Numbers, Numbers]] = []
    texts: list[npt.NDArray[np.uint8]] = []
    for table in read_batches(path, ["id", "text"]):
        ids.append(split_ids(table["id"]))
        starts, stops, data = text_spans(table["text"])
        texts += [data[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    high, low = (concat([pair[side] for pair in ids]) for side in (0, 1))
    order = argsort(high)
    rows = np.arange(first_row, first_row + len(high), dtype=np.uint64)
    size = np.array([len(texts[place]) for place in order.tolist()], np.uint64)
    data = np.concatenate([*(texts[place] for place in order.tolist()), np.empty(0, np.uint8)])
    columns = {
        "id_high": high[order],
        "id_low": low[order],
        "row": rows[order],
        "size": size,
        "end": np.cumsum(size).astype(np.uint64),
    }
    write_run(out, {**columns, "text": data})
    return {"documents": len(high), "text_bytes": len(data)}


def find_repeats(
    settings: SubstringSettings, paths: Sequence[Path], low: int, high: int, out: Path
) -> dict[str, int]:
    """Write the byte ranges to cut, by row, among the documents whose id begins in [low, high)."""
    runs = [Run(path) for path in paths]
    columns = read_range(runs, low, high, ("id_high", "id_low", "row", "size"))
    order = np.lexsort([columns[name] for name in ("row", "id_low", "id_high")])
    text, starts = _joined(runs, low, high, columns["size"], order)
    repeats = find_repeated_ranges(settings, text, starts)
    doc = np.searchsorted(starts, repeats[:, 0], side="right") - 1
    ranges = (repeats - starts[doc][:, None]).astype(np.uint64)
    write_run(
        out, sort_columns({"row": columns["row"][order][doc], "start": ranges[:, 0], "stop": ranges[:, 1]})
    )
    return {
        "text_bytes": len(text),
        "repeats": len(repeats),
        "repeated_bytes": int((repeats[:, 1] - repeats[:, 0]).sum()),
    }


def _joined(
    runs: Sequence[Run], low: int, high: int, sizes: Numbers, order: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Join the texts of a range of ids in the given order, a separator after each; return it and where each
    text starts."""
    where = []
    for run in runs:
        span = run.span(low, high)
        where += [
            (run, int(end - size), int(end))
            for end, size in zip(run.columns["end"][span], run.columns["size"][span], strict=True)
        ]
    starts = np.concatenate([[0], np.cumsum(sizes[order].astype(np.int64) + 1)])
    text = np.full(int(starts[-1]), _SEPARATOR, np.uint8)
    for start, member in zip(starts.tolist(), order.tolist(), strict=False):
        run, begin, end = where[member]
        text[start : start + end - begin] = run.columns["text"][begin:end]
    return text, starts[:-1]


def find_repeated_ranges(
    settings: SubstringSettings, text: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the byte ranges [start, stop) of joined texts that occurred before, joined where they touch."""
    from pydivsufsort import divsufsort, kasai, longest_previous_factor

    if len(text) < 2:
        return np.empty((0, 2), np.int64)
    suffixes = divsufsort(text)
    longest = longest_previous_factor(text, suffixes, kasai(text, suffixes)).astype(np.int64)
    ends = np.append(starts[1:], len(text)) - 1
    words = (
        _words(text, starts, ends)
        if settings.min_bytes is None
        else (np.empty(0, np.int64), np.empty(0, np.int64))
    )
    found = np.empty((len(text) // 2 + 1, 2), np.int64)
    count = _ranges(text, longest, starts, ends, *words, settings.min_bytes or 0, settings.min_tokens, found)
    return found[:count].copy()


def _words(
    text: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], ...]:
    """Return where the words of all texts start and end."""
    cuts = np.flatnonzero(np.diff(starts // _SCAN_BYTES, prepend=-1))
    parts = [
        scan(starts[a:b], ends[a:b], text)
        for a, b in zip(cuts, np.append(cuts[1:], len(starts)), strict=True)
    ]
    return np.concatenate([part.start for part in parts]), np.concatenate([part.end for part in parts])


@njit(
    [
        types.int64(
            types.Array(types.uint8, 1, "C"),
            *(I64,) * 5,
            types.int64,
            types.int64,
            types.Array(types.int64, 2, "C"),
        )
    ],
    cache=True,
    nogil=True,
)
def _ranges(text, longest, starts, ends, word_starts, word_ends, min_bytes, min_tokens, found):  # type: ignore[no-untyped-def]
    """Collect repeated ranges that are long enough, snapped to whole words (or characters), and join those
    that touch."""
    count, word, last = 0, 0, 0
    for doc in range(len(starts)):
        reach = starts[
            doc
        ]  # where the furthest range so far ends: only ranges that end later tell something new
        for i in range(starts[doc], ends[doc]):
            stop = min(i + longest[i], ends[doc])
            if stop <= reach:
                continue
            reach = stop
            start = i
            if min_bytes:
                while start < stop and text[start] & 0xC0 == 0x80:
                    start += 1
                while stop > start and stop < ends[doc] and text[stop] & 0xC0 == 0x80:
                    stop -= 1
                if stop - start < min_bytes:
                    continue
            else:
                while word < len(word_starts) and word_starts[word] < i:
                    word += 1
                last = max(last, word)
                while last < len(word_ends) and word_ends[last] <= stop:
                    last += 1
                if last - word < min_tokens:
                    continue
                start, stop = word_starts[word], word_ends[last - 1]
            if count and found[count - 1, 1] >= start and found[count - 1, 0] >= starts[doc]:
                found[count - 1, 1] = max(found[count - 1, 1], stop)
            else:
                found[count, 0], found[count, 1] = start, stop
                count += 1
    return count


def apply_substring(
    settings: SubstringSettings, path: Path, first_row: int, cuts: Sequence[Path]
) -> Iterator[Applied]:
    """Cut the repeated ranges out of a shard's texts; a document of which too little is left is removed with
    its whole text."""
    found = sort_columns(
        read_range(
            [Run(run) for run in cuts], first_row, first_row + num_rows(path), ("row", "start", "stop")
        )
    )
    row = first_row
    for table in read_batches(path):
        edits: list[Edits] = [[] for _ in range(len(table))]
        low, high = np.searchsorted(found["row"], np.array([row, row + len(table)], np.uint64))
        places, starts, stops = (found[name][low:high].tolist() for name in ("row", "start", "stop"))
        for place, start, stop in zip(places, starts, stops, strict=True):
            edits[place - row].append((start, stop))
        edits = [merge_edits(ranges) for ranges in edits]
        left = [without(text, ranges) for text, ranges in zip(table["text"].to_pylist(), edits, strict=True)]
        failures = [
            _failed(settings, text) if ranges else None for text, ranges in zip(left, edits, strict=True)
        ]
        yield cut_documents(table, edits, [len(ranges) for ranges in edits], left, failures)
        row += len(table)


def _failed(settings: SubstringSettings, text: str | None) -> Failure | None:
    length = len((text or "").strip())
    return (
        ("dedup.substring.min_characters", float(length), float(settings.min_characters))
        if length < settings.min_characters
        else None
    )
