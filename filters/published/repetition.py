"""Gopher's repetition signals: repeated lines, paragraphs and n-grams of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.filters.block import Batch, Measured, Measurement
from gristmill.filters.published.linepass import line_signals
from gristmill.text.kernel import OFFSETS, kernel, part
from gristmill.text.points import finish

_LINES = {
    "chars": "chars",
    "lines": "parts",
    "paragraphs": "paragraphs",
    "duplicate_lines": "duplicate_lines",
    "duplicate_line_chars": "duplicate_line_chars",
    "duplicate_paragraphs": "duplicate_paragraphs",
    "duplicate_paragraph_chars": "duplicate_paragraph_chars",
}
_TOP, _DUPLICATE = (2, 3, 4), (5, 6, 7, 8, 9, 10)
_NGRAMS = (*(f"top_{n}gram_chars" for n in _TOP), *(f"duplicate_{n}gram_chars" for n in _DUPLICATE))

_PRIME, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC4CEB9FE1A85EC53)
_ONE = np.uint64(1)
_READ_U64, _READ_I32 = (
    types.Array(types.uint64, 1, "C", readonly=True),
    types.Array(types.int32, 1, "C", readonly=True),
)
_U64, _I32, _I64, _U8 = (
    types.Array(kind, 1, "C") for kind in (types.uint64, types.int32, types.int64, types.uint8)
)


@part
def _maybe_repeated(hashes, start, stop, marks, places):  # type: ignore[no-untyped-def]
    """Find where bigrams begin that occur more than once, and one in eight of the others: those that share a
    mark.

    Three in four bigrams of a page occur once. A byte each, counted without a branch, rules out most of them.
    """
    bits = 3
    while 1 << bits < 8 * (stop - start):
        bits += 1
    shift = np.uint64(64 - bits)
    for slot in range(1 << bits):
        marks[slot] = 0
    for i in range(start, stop - 1):
        slot = ((hashes[i] * _PRIME + hashes[i + 1]) * _MIX) >> shift
        marks[slot] += marks[slot] < 2
    found = 0
    for i in range(start, stop - 1):
        places[found] = i
        found += marks[((hashes[i] * _PRIME + hashes[i + 1]) * _MIX) >> shift] > 1
    return found


@part
def _count_at(hashes, places, num_places, n, keys, counts, slots):  # type: ignore[no-untyped-def]
    """Count the n-grams that begin at some places; slots[k] says where that of places[k] is counted."""
    size = 8
    while size < 2 * num_places:
        size *= 2
    for slot in range(size):
        counts[slot] = 0
    mask = np.uint64(size - 1)
    for k in range(num_places):
        h = np.uint64(0)
        for i in range(places[k], places[k] + n):
            h = h * _PRIME + hashes[i]
        key = finish(h)
        slot = key & mask
        while counts[slot] and keys[slot] != key:
            slot = (slot + _ONE) & mask
        keys[slot] = key
        counts[slot] += 1
        slots[k] = slot


@part
def _keep_repeated(places, num_places, counts, slots):  # type: ignore[no-untyped-def]
    """Keep the places of n-grams that occur more than once; return how many, and the first of the most
    frequent, or -1."""
    kept = 0
    best, most = np.int64(-1), 1
    for k in range(num_places):
        count = counts[slots[k]]
        if count > most:
            best, most = places[k], count
        places[kept], slots[kept] = places[k], slots[k]
        kept += count > 1
    return kept, best, most


@part
def _chars(chars, start, n):  # type: ignore[no-untyped-def]
    total = 0
    for i in range(start, start + n):
        total += chars[i]
    return total


@part
def _duplicate(chars, places, num_places, n, counts, slots):  # type: ignore[no-untyped-def]
    """Return the characters of n-grams met before, walking on behind each one found; overwrites the
    counts."""
    total = 0
    free = np.int64(0)  # the walk's position: behind the n-gram found last
    for k in range(num_places):
        if places[k] < free:
            continue
        if counts[slots[k]] < 0:
            total += _chars(chars, places[k], n)
            free = places[k] + n
        counts[slots[k]] = -1
    return total


@kernel(
    types.void(OFFSETS, _READ_U64, _READ_I32, _U64, _I32, _I64, _U64, _U8, types.Array(types.int64, 2, "C"))
)
def _count_ngrams(rows, hashes, chars, keys, counts, places, slots, marks, out):  # type: ignore[no-untyped-def]
    """Fill the n-gram columns.

    A repeated n-gram begins with a repeated (n - 1)-gram and so does what follows its first word: only places
    where both hold are counted for n, and these are few.
    """
    for doc in range(len(rows) - 1):
        start, stop = rows[doc], rows[doc + 1]
        num_places = _maybe_repeated(hashes, start, stop, marks, places)
        for n in range(2, 11):
            kept, best, most = 0, np.int64(-1), 1
            if num_places:
                _count_at(hashes, places, num_places, n, keys, counts, slots)
                kept, best, most = _keep_repeated(places, num_places, counts, slots)
            if n >= 5:
                out[doc, n - 2] = _duplicate(chars, places, kept, n, counts, slots)
            elif stop - start >= n:  # of n-grams that all occur once, the first
                out[doc, n - 2] = most * (_chars(chars, best if kept else start, n) + n - 1)
            num_places = 0
            for k in range(kept - 1):
                places[num_places] = places[k]
                num_places += places[k + 1] == places[k] + 1


def measure_repetition(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    words = batch.words
    most = int(np.diff(words.rows).max(initial=0))
    slots = max(8, 1 << int(2 * most).bit_length())  # 12 bytes each, and 8 of marks: at most 40 a word
    keys, counts = (
        batch.scratch.empty("ngram_keys", slots, np.uint64),
        batch.scratch.empty("ngram_counts", slots, np.int32),
    )
    places, chosen = (
        batch.scratch.empty("ngram_places", most + 1, np.int64),
        batch.scratch.empty("ngram_slots", most + 1, np.uint64),
    )
    marks = batch.scratch.empty("bigram_marks", 4 * slots, np.uint8)
    out = np.zeros((len(batch), len(_NGRAMS)), np.int64)
    _count_ngrams(words.rows, words.hash_exact, words.chars, keys, counts, places, chosen, marks, out)
    lines = line_signals(batch)
    signals: dict[str, npt.NDArray[Any]] = {name: lines[column] for name, column in _LINES.items()}
    return Measured(signals | {name: out[:, index] for index, name in enumerate(_NGRAMS)})


REPETITION = Measurement(measure_repetition, (*_LINES, *_NGRAMS))
