"""Count the words of a sample: all that a trainer of BPE needs to know of it.

A word is a run of bytes without blanks or line breaks, with the blank before it; of several blanks all but
the last are a word of their own. Merges never cross from one word to the next, so that a distinct word with
its count stands for all its occurrences, and a hundred megabytes of text become a few of words.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from gristmill.text import kernel  # noqa: F401  sets the cache folder before any kernel is made
from gristmill.text.lanes import address_of, load, lowest

_LONGEST = 256  # bytes; longer runs without a blank are cut between characters
_BLANK, _BREAK, _RETURN = 32, 10, 13
_SLOTS, _POOL_BYTES = 1 << 18, 1 << 22  # at first; both double when they are full
# A slot of the table, half a cache line: key, number from 1 (0: empty), count, unused. The key of a word of
# up to 7 bytes is the word itself with its length, so that nothing else is looked at; else it is a hash.
_KEY, _NUMBER, _COUNT, _WIDTH = 0, 1, 2, 4
_LONG = 0xFF << 56
_ONES, _HIGHS = 0x0101010101010101, 0x8080808080808080  # in each of eight bytes

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def count_words(texts: Iterable[pa.Array]) -> pa.Table:
    """Distinct words of `large_string` arrays and how often each occurs, in the order of first occurrence."""
    return _counted((pc.fill_null(array, "").cast(pa.large_string()), None) for array in texts)


def add_counts(counted: Iterable[pa.Table]) -> pa.Table:
    """The words of several counts, each once, and their sums, in the order of first occurrence."""
    return _counted(
        (table["word"].combine_chunks().cast(pa.large_binary()), table["count"].to_numpy())
        for table in counted
    )


def _counted(arrays: Iterable[tuple[pa.Array, I64 | None]]) -> pa.Table:
    """Count the words of texts, or, where numbers stand beside an array, its rows so many times each."""
    table, pool = np.zeros((_SLOTS, _WIDTH), np.uint64), np.empty(_POOL_BYTES, np.uint8)
    ends = np.zeros(_SLOTS // 2 + 1, np.int64)
    state = np.zeros(3, np.int64)  # words so far, and the row and byte at which to go on
    for array, times in arrays:
        offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
        data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
        state[1:] = 0
        while not (
            _fill(data, offsets, table, pool, ends, state)
            if times is None
            else _add(data, offsets, times, table, pool, ends, state)
        ):
            if state[0] + 1 >= len(ends):
                ends = np.append(ends, np.zeros(len(table), np.int64))
                grown = np.zeros((2 * len(table), _WIDTH), np.uint64)
                _enter(table, grown)
                table = grown
            else:
                pool = np.concatenate([pool, np.empty_like(pool)])
    used = int(state[0])
    counts = np.zeros(used, np.int64)
    there = table[:, _NUMBER] > 0
    counts[table[there, _NUMBER].astype(np.int64) - 1] = table[there, _COUNT]
    buffers = [None, pa.py_buffer(ends[: used + 1].tobytes()), pa.py_buffer(pool)]
    words = pa.Array.from_buffers(pa.large_binary(), used, buffers)
    return pa.table({"word": words, "count": counts})


@njit(cache=True, nogil=True)
def _key_of(data: Bytes, start: int, stop: int) -> np.uint64:
    """A word of up to 7 bytes, and its length on top; of a longer one a hash, eight bytes at a time (the last
    eight overlap), of 56 bits."""
    length = stop - start
    if length < 8:
        key = np.uint64(length) << np.uint64(56)
        if start + 8 <= len(data):
            bytes_ = load(address_of(data) + np.uint64(start))
            return np.uint64(key | (bytes_ & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1))))
        for i in range(start, stop):
            key |= np.uint64(data[i]) << np.uint64(8 * (i - start))
        return key
    place, value = address_of(data) + np.uint64(start), np.uint64(length)
    for i in range(0, length - 8, 8):
        value = (value ^ load(place + np.uint64(i))) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
    value = (value ^ load(place + np.uint64(length - 8))) * np.uint64(0x9E3779B97F4A7C15)
    return np.uint64((value ^ (value >> np.uint64(32))) | np.uint64(_LONG))


@njit(cache=True, nogil=True)
def _same(a: np.uint64, b: np.uint64, length: int) -> bool:
    """Whether two stretches of at least eight bytes, given by address, are equal."""
    for i in range(0, length - 8, 8):
        if load(a + np.uint64(i)) != load(b + np.uint64(i)):
            return False
    last = np.uint64(length - 8)
    return bool(load(a + last) == load(b + last))


@njit(cache=True, nogil=True)
def _zero_bytes(word: np.uint64) -> np.uint64:
    """The high bit of each byte that is zero; above the first one other bits may be set."""
    return (word - np.uint64(_ONES)) & ~word & np.uint64(_HIGHS)


@njit(cache=True, nogil=True)
def _run_end(data: Bytes, at: int, stop: int) -> int:
    """Where the run of bytes that are no blank and no line break ends, eight bytes at a time."""
    place = address_of(data)
    while at + 8 <= len(data) and at < stop:
        word = load(place + np.uint64(at))
        found = (
            _zero_bytes(word ^ np.uint64(_ONES * _BLANK))
            | _zero_bytes(word ^ np.uint64(_ONES * _BREAK))
            | _zero_bytes(word ^ np.uint64(_ONES * _RETURN))
        )
        if found:
            return min(at + int(lowest(found) >> 3), stop)
        at += 8
    while at < stop and data[at] != _BLANK and data[at] != _BREAK and data[at] != _RETURN:
        at += 1
    return min(at, stop)


@njit(cache=True, nogil=True)
def _first_slot(key: np.uint64, mask: np.uint64) -> np.uint64:
    """Where a key is looked for first: the upper bits of a product, which all of its bits move."""
    value = key * np.uint64(0x9E3779B97F4A7C15)
    return (value ^ (value >> np.uint64(29))) & mask


@njit(cache=True, nogil=True)
def _enter(table: U64, grown: U64) -> None:
    """Enter all words of a table into a larger one, which is empty."""
    mask = np.uint64(len(grown) - 1)
    for old in range(len(table)):
        if table[old, _NUMBER]:
            slot = _first_slot(table[old, _KEY], mask)
            while grown[slot, _NUMBER]:
                slot = (slot + np.uint64(1)) & mask
            grown[slot] = table[old]


@njit(cache=True, nogil=True)
def _word_end(data: npt.NDArray[np.uint8], begin: int, stop: int) -> int:
    """Where the word that begins here ends."""
    at = begin
    while at < stop and data[at] == _BLANK:
        at += 1
    blanks = at - begin
    word = at < stop and data[at] != _BREAK and data[at] != _RETURN
    if blanks > 1 or (blanks and not word):
        at = begin + blanks - (1 if word else 0)
    else:
        at = _run_end(data, at, stop)
    if at - begin > _LONGEST:
        at = begin + _LONGEST
        while at > begin + 1 and data[at] & 0xC0 == 0x80:
            at -= 1
    return at


@njit(cache=True, nogil=True)
def _fill(data: Bytes, offsets: I64, table: U64, pool: Bytes, ends: I64, state: I64) -> bool:
    """Count the words of these texts; False, with the place in `state`, when there is no room for more."""
    for row in range(state[1], len(offsets) - 1):
        at, stop = max(offsets[row], state[2]), offsets[row + 1]
        while at < stop:
            if data[at] == _BREAK or data[at] == _RETURN:
                at += 1
                continue
            begin = at
            at = _word_end(data, begin, stop)
            if not _count(data, begin, at, 1, table, pool, ends, state):
                state[1], state[2] = row, begin
                return False
    return True


@njit(cache=True, nogil=True)
def _add(data: Bytes, offsets: I64, times: I64, table: U64, pool: Bytes, ends: I64, state: I64) -> bool:
    """Count words so many times each; False, as above, when there is no room for more."""
    for row in range(state[1], len(times)):
        if not _count(data, offsets[row], offsets[row + 1], times[row], table, pool, ends, state):
            state[1] = row
            return False
    return True


@njit(cache=True, nogil=True)
def _count(
    data: Bytes, begin: int, stop: int, times: int, table: U64, pool: Bytes, ends: I64, state: I64
) -> bool:
    """Count a word, which is entered where it is new; False when there is no room for it."""
    mask = np.uint64(len(table) - 1)
    length, key = stop - begin, _key_of(data, begin, stop)
    slot = _first_slot(key, mask)
    while table[slot, _NUMBER]:
        if table[slot, _KEY] == key:
            if length < 8:
                break
            number = np.int64(table[slot, _NUMBER]) - 1
            start = ends[number]
            if ends[number + 1] - start == length:
                known = address_of(pool) + np.uint64(start)
                if _same(known, address_of(data) + np.uint64(begin), length):
                    break
        slot = (slot + np.uint64(1)) & mask
    if not table[slot, _NUMBER]:
        used = state[0]
        if used + 1 >= len(ends) or ends[used] + length > len(pool):
            return False
        for i in range(length):
            pool[ends[used] + i] = data[begin + i]
        ends[used + 1] = ends[used] + length
        table[slot, _KEY], table[slot, _NUMBER] = key, np.uint64(used + 1)
        state[0] = used + 1
    table[slot, _COUNT] += np.uint64(times)
    return True
