"""Cut words where no merge can reach: at pairs of base symbols that occur too seldom to be merged.

A word that occurs `least` times, and is no longer than a symbol may be, holds a pair that occurs as often
until it is a symbol itself. If there are as many such words as symbols are to be made, no pair that occurs
less often is merged before the last of these symbols. A symbol that reaches over a rarer pair of base symbols
occurs no more often than that pair does, so that no merge spans it: words are cut there, and equal parts are
counted together. Parts occur more often than words, which raises `least` once more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gristmill.text import kernel  # noqa: F401  sets the cache folder before any kernel is made
from gristmill.tokenize.training.slots import GOLDEN, first_slot, power_of_two

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

MOST_TIMES = (1 << 31) - 1  # of one word; what occurs more often stays in several
_FREQUENT = 2  # times as many words as symbols are to be made: those that `least` is first told by
_WORTHWHILE = 1.2  # cut again where `least` has risen by so much


class Words(NamedTuple):
    """Words end to end; where each begins and the last ends; how often each occurs."""

    symbols: I32
    starts: I64
    counts: I64


class _Parts(NamedTuple):
    """Words, the number of the pair that begins at each symbol (-1: none), and how many words are there for
    another's count that has no room."""

    words: Words
    pairs: I32
    copies: int


def without_rare_pairs(words: Words, num_new: int, longest: int) -> Words:
    """Return distinct words of two symbols and more, of which `num_new` merges make the same symbols in the
    same order.

    No symbol is made of more than `longest` base symbols. Counts above `MOST_TIMES` are taken as that.
    Memory: some 30 bytes for each of the symbols.
    """
    symbols, starts = words.symbols.astype(np.int32, copy=False), words.starts.astype(np.int64, copy=False)
    num_new = max(num_new, 1)
    times = np.minimum(words.counts, MOST_TIMES).astype(np.int64)
    pairs, totals = _pairs_of(symbols, starts, times)
    parts = _Parts(Words(symbols, starts, times), pairs, 0)
    least = _least(_cut(parts, totals, 1, _frequent(times, _FREQUENT * num_new)), num_new, longest)
    parts = _cut(parts, totals, least)
    while (higher := _least(parts, num_new, longest)) > _WORTHWHILE * least:
        least = higher
        parts = _cut(parts, totals, least)
    return parts.words


def _frequent(counts: I64, num: int) -> I64:
    """The rows of so many words, and of those that occur as often as the last of them."""
    if len(counts) <= num:
        return np.arange(len(counts))
    return np.flatnonzero(counts >= np.partition(counts, len(counts) - num)[len(counts) - num])


def _least(parts: _Parts, num_new: int, longest: int) -> int:
    """How often a pair that is merged occurs at least."""
    whole = parts.words.counts[np.diff(parts.words.starts) <= longest]
    at = len(whole) - num_new - parts.copies
    return int(np.partition(whole, at)[at]) if at >= 0 else 1


def _cut(parts: _Parts, totals: I64, least: int, rows: I64 | None = None) -> _Parts:
    """Cut words, or these of them, at pairs that occur less often than `least`, and add up equal parts."""
    rows = np.arange(len(parts.words.counts)) if rows is None else rows
    num = _num_parts(parts.words.starts, rows, parts.pairs, totals, least)
    slots = np.zeros(power_of_two(2 * num), np.int32)
    words, pairs, copies = _distinct(*parts.words, rows, parts.pairs, totals, least, num, slots)
    return _Parts(Words(*words), pairs, copies)


@njit(cache=True, nogil=True)
def _pairs_of(symbols: I32, starts: I64, counts: I64) -> tuple[I32, I64]:
    """Number the pairs of symbols; the pair that begins at each (-1: none), and how often each occurs."""
    pairs, totals = np.full(len(symbols), -1, np.int32), np.zeros(1 << 14, np.int64)
    keys, slots = np.empty(1 << 14, np.int64), np.zeros(1 << 15, np.int32)
    num = 0
    for word in range(len(starts) - 1):
        for at in range(starts[word], starts[word + 1] - 1):
            key = (np.int64(symbols[at]) << 32) | np.int64(symbols[at + 1])
            slot = _slot_of(key, keys, slots)
            if not slots[slot]:
                if num == len(keys):
                    keys, totals = np.append(keys, np.empty_like(keys)), np.append(totals, 0 * totals)
                    slots = _entered(keys, num, 2 * len(slots))
                    slot = _slot_of(key, keys, slots)
                keys[num] = key
                num += 1
                slots[slot] = num
            pairs[at] = slots[slot] - 1
            totals[pairs[at]] += counts[word]
    return pairs, totals[:num].copy()


@njit(cache=True, nogil=True, inline="always")
def _slot_of(key: int, keys: I64, slots: I32) -> np.int64:
    """The slot that holds a key's number from 1, or is free for it."""
    slot = first_slot(key, len(slots))
    while slots[slot] and keys[slots[slot] - 1] != key:
        slot = (slot + 1) & (len(slots) - 1)
    return np.int64(slot)


@njit(cache=True, nogil=True)
def _entered(keys: I64, num: int, num_slots: int) -> I32:
    slots = np.zeros(num_slots, np.int32)
    for number in range(num):
        slots[_slot_of(keys[number], keys, slots)] = number + 1
    return slots


@njit(cache=True, nogil=True)
def _num_parts(starts: I64, rows: I64, pairs: I32, totals: I64, least: int) -> int:
    """How many parts of two symbols and more there are, equal ones counted apart."""
    num = 0
    for word in rows:
        inside = False
        for at in range(starts[word], starts[word + 1] - 1):
            stays = totals[pairs[at]] >= least
            num += stays and not inside
            inside = stays
    return num


@njit(cache=True, nogil=True)
def _distinct(
    symbols: I32,
    starts: I64,
    counts: I64,
    rows: I64,
    pairs: I32,
    totals: I64,
    least: int,
    num: int,
    slots: I32,
) -> tuple[tuple[I32, I64, I64], I32, int]:
    """Cut words into parts, and add up those that are equal: the parts, their pairs, and how many are there
    for another's count that had no room."""
    kept, kept_pairs = np.empty(len(symbols), np.int32), np.empty(len(symbols), np.int32)
    ends, times, hashes = np.zeros(num + 1, np.int64), np.empty(num, np.int64), np.empty(num, np.uint64)
    used = copies = 0
    for word in rows:
        begin = starts[word]
        for at in range(starts[word], starts[word + 1]):
            if at + 1 < starts[word + 1] and totals[pairs[at]] >= least:
                continue
            size = at + 1 - begin
            if size > 1:
                value = np.uint64(size)
                for k in range(begin, at + 1):
                    value = (value ^ np.uint64(symbols[k])) * np.uint64(GOLDEN)
                    value ^= value >> np.uint64(29)
                slot = first_slot(np.int64(value >> np.uint64(1)), len(slots))
                full = False
                while slots[slot]:
                    other = slots[slot] - 1
                    if hashes[other] == value and _is(symbols, begin, size, kept, ends, other):
                        if times[other] + counts[word] <= MOST_TIMES:
                            break
                        full = True
                    slot = (slot + 1) & (len(slots) - 1)
                if slots[slot]:
                    times[slots[slot] - 1] += counts[word]
                else:
                    for k in range(size):
                        kept[ends[used] + k] = symbols[begin + k]
                        kept_pairs[ends[used] + k] = pairs[begin + k] if k + 1 < size else -1
                    ends[used + 1], times[used], hashes[used] = ends[used] + size, counts[word], value
                    used += 1
                    slots[slot] = used
                    copies += full
            begin = at + 1
    size = ends[used]
    return (
        (kept[:size].copy(), ends[: used + 1].copy(), times[:used].copy()),
        kept_pairs[:size].copy(),
        copies,
    )


@njit(cache=True, nogil=True, inline="always")
def _is(symbols: I32, begin: int, size: int, kept: I32, ends: I64, other: int) -> bool:
    if ends[other + 1] - ends[other] != size:
        return False
    k = 0
    while k < size and kept[ends[other] + k] == symbols[begin + k]:
        k += 1
    return bool(k == size)
