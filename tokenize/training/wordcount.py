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
from gristmill.text.ahead import fetch_ahead
from gristmill.text.borrowing import borrowed
from gristmill.text.lanes import address_of, load, lowest

_LONGEST = 256  # bytes; longer runs without a blank are cut between characters
_BLANK, _BREAK, _RETURN = 32, 10, 13
_SLOTS, _POOL_BYTES = 1 << 18, 1 << 22  # at first; both double when they are full
_LOAD = 0.7  # share of the slots at which a table is full
# A slot of the table: key, number from 1 (0: empty). The key of a word of up to 7 bytes is the word itself
# with its length, so that nothing else is looked at; else it is a hash. Counts lie apart, by number: frequent
# words come early, so that their counts stay in the cache, and the table is half as large.
_KEY, _NUMBER, _WIDTH = 0, 1, 2
_LONG = 0xFF << 56
_ONES, _LOWS = 0x0101010101010101, 0x7F7F7F7F7F7F7F7F  # in each of eight bytes
# Words are found and counted by turns, so many at a time. A row of a batch: key, first byte, bytes, how often
# it counts. `state`: words so far; the row and byte to go on from; words in the batch, and how many of them
# are counted.
_BATCH = 4096
_AHEAD = 16  # words between asking for a slot and reading it
_WORD_KEY, _BEGIN, _LENGTH, _TIMES = 0, 1, 2, 3
_USED, _ROW, _BYTE, _FOUND, _DONE = 0, 1, 2, 3, 4

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
    ends, counts = np.zeros(int(_LOAD * _SLOTS) + 1, np.int64), np.zeros(int(_LOAD * _SLOTS), np.int64)
    batch = np.zeros((_BATCH, 4), np.uint64)
    state = np.zeros(5, np.int64)
    for array, times in arrays:
        offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
        data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
        state[_ROW:] = 0
        while not _fill(data, offsets, times, batch, table, pool, ends, counts, state):
            if state[_USED] + 1 >= len(ends):
                grown = np.zeros((2 * len(table), _WIDTH), np.uint64)
                _enter(table, grown)
                table, more = grown, np.zeros(int(_LOAD * len(grown)) - len(counts), np.int64)
                ends, counts = np.append(ends, more), np.append(counts, more)
            else:
                pool = np.concatenate([pool, np.empty_like(pool)])
    used = int(state[_USED])
    buffers = [None, pa.py_buffer(ends[: used + 1].tobytes()), pa.py_buffer(pool)]
    words = pa.Array.from_buffers(pa.large_binary(), used, buffers)
    return pa.table({"word": words, "count": counts[:used]})


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
def _borders(word: np.uint64) -> np.uint64:
    """The high bit of each of eight bytes that is a blank, a line feed or a carriage return."""
    found = np.uint64(0)
    for byte in (_BLANK, _BREAK, _RETURN):
        other = word ^ np.uint64(_ONES * byte)
        found |= ~(((other & np.uint64(_LOWS)) + np.uint64(_LOWS)) | other | np.uint64(_LOWS))
    return found


@njit(cache=True, nogil=True)
def _run_end(data: Bytes, at: int, stop: int) -> int:
    """Where the run of bytes that are no blank and no line break ends, eight bytes at a time."""
    place = address_of(data)
    while at + 8 <= len(data) and at < stop:
        found = _borders(load(place + np.uint64(at)))
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
def _fill(
    data: Bytes,
    offsets: I64,
    times: I64 | None,
    batch: U64,
    table: U64,
    pool: Bytes,
    ends: I64,
    counts: I64,
    state: I64,
) -> bool:
    """Count the words of these texts, or these rows so many times each; False when there is no room for more,
    after which it goes on from `state`."""
    data, offsets, batch = borrowed(data), borrowed(offsets), borrowed(batch)
    table, pool, state = borrowed(table), borrowed(pool), borrowed(state)
    ends, counts = borrowed(ends), borrowed(counts)
    while True:
        if not _tally(data, batch, table, pool, ends, counts, state):
            return False
        if times is None:
            _split(data, offsets, batch, state)
        else:
            _rows(data, offsets, times, batch, state)
        if not state[_FOUND]:
            return True


@njit(cache=True, nogil=True)
def _split(data: Bytes, offsets: I64, batch: U64, state: I64) -> None:
    """Find the next words of the texts: a batch of them, from the row and byte in `state` on.

    Most words lie, with their end, in the eight bytes that begin where they do, which then are their key.
    """
    base, limit = address_of(data), len(data) - 8
    found, row, at = 0, state[_ROW], state[_BYTE]
    while row < len(offsets) - 1:
        at, stop = max(at, offsets[row]), offsets[row + 1]
        while at < stop and found < len(batch):
            begin = at
            first = data[at]
            if first == _BREAK or first == _RETURN:  # noqa: SIM109  one by one is what compiles well
                at += 1
                continue
            length = 0
            if at <= limit:
                word = load(base + np.uint64(at))
                borders = _borders(word) & ~np.uint64(0xFF)
                length = min(int(lowest(borders) >> np.uint64(3)) if borders else 8, stop - at)
            if 0 < length < 8 and (first != _BLANK or length > 1):
                batch[found, _WORD_KEY] = (np.uint64(length) << np.uint64(56)) | (
                    word & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1))
                )
                at += length
            else:
                at = _word_end(data, begin, stop)
                batch[found, _WORD_KEY] = _key_of(data, begin, at)
            batch[found, _BEGIN], batch[found, _LENGTH] = begin, at - begin
            batch[found, _TIMES] = 1
            found += 1
        if at < stop:
            break
        row += 1
    state[_ROW], state[_BYTE], state[_FOUND], state[_DONE] = row, at, found, 0


@njit(cache=True, nogil=True)
def _rows(data: Bytes, offsets: I64, times: I64, batch: U64, state: I64) -> None:
    """The next rows, each a word that counts so many times."""
    first = state[_ROW]
    found = min(len(batch), len(times) - first)
    for i in range(found):
        begin, stop = offsets[first + i], offsets[first + i + 1]
        batch[i, _WORD_KEY] = _key_of(data, begin, stop)
        batch[i, _BEGIN], batch[i, _LENGTH], batch[i, _TIMES] = begin, stop - begin, times[first + i]
    state[_ROW], state[_FOUND], state[_DONE] = first + found, found, 0


@njit(cache=True, nogil=True)
def _tally(data: Bytes, batch: U64, table: U64, pool: Bytes, ends: I64, counts: I64, state: I64) -> bool:
    """Count the words of a batch; False when there is no room for one, from which it goes on.

    Apart from finding words, so that the processor looks up several of them at once.
    """
    mask = np.uint64(len(table) - 1)
    rows = address_of(table)
    for i in range(state[_DONE], state[_FOUND]):
        if i + _AHEAD < state[_FOUND]:
            slot = _first_slot(batch[i + _AHEAD, _WORD_KEY], mask)
            fetch_ahead(rows + slot * np.uint64(8 * _WIDTH))
        key, length = batch[i, _WORD_KEY], np.int64(batch[i, _LENGTH])
        slot = _first_slot(key, mask)
        while table[slot, _NUMBER]:
            if table[slot, _KEY] == key and (
                length < 8 or _is(data, np.int64(batch[i, _BEGIN]), length, table[slot, _NUMBER], pool, ends)
            ):
                break
            slot = (slot + np.uint64(1)) & mask
        if not table[slot, _NUMBER]:
            used, begin = state[_USED], np.int64(batch[i, _BEGIN])
            if used + 1 >= len(ends) or ends[used] + length > len(pool):
                state[_DONE] = i
                return False
            for j in range(length):
                pool[ends[used] + j] = data[begin + j]
            ends[used + 1] = ends[used] + length
            table[slot, _KEY], table[slot, _NUMBER] = key, np.uint64(used + 1)
            state[_USED] = used + 1
        counts[np.int64(table[slot, _NUMBER]) - 1] += np.int64(batch[i, _TIMES])
    state[_DONE] = state[_FOUND]
    return True


@njit(cache=True, nogil=True)
def _is(data: Bytes, begin: int, length: int, number: np.uint64, pool: Bytes, ends: I64) -> bool:
    """Whether a word of eight bytes and more is the one with this number."""
    start = ends[np.int64(number) - 1]
    if ends[np.int64(number)] - start != length:
        return False
    return bool(_same(address_of(pool) + np.uint64(start), address_of(data) + np.uint64(begin), length))
