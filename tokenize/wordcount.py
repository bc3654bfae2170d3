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

_LONGEST = 256  # bytes; longer runs without a blank are cut between characters
_BLANK, _BREAK, _RETURN = 32, 10, 13
_SLOTS, _POOL_BYTES = 1 << 18, 1 << 22  # at first; both double when they are full


def count_words(texts: Iterable[pa.Array]) -> pa.Table:
    """Distinct words of `large_string` arrays and how often each occurs, in the order of first occurrence."""
    table, pool = np.full(_SLOTS, -1, np.int64), np.empty(_POOL_BYTES, np.uint8)
    ends, counts = np.zeros(_SLOTS // 2 + 1, np.int64), np.zeros(_SLOTS // 2, np.int64)
    state = np.zeros(3, np.int64)  # words so far, and the row and byte at which to go on
    for array in texts:
        array = pc.fill_null(array, "").cast(pa.large_string())
        offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
        data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
        state[1:] = 0
        while not _fill(data, offsets, table, pool, ends, counts, state):
            pool = np.concatenate([pool, np.empty_like(pool)])
            counts = np.append(counts, np.zeros_like(counts))
            ends = np.append(ends, np.zeros(len(counts) + 1 - len(ends), np.int64))
            table = np.full(2 * len(table), -1, np.int64)
            _rehash(table, pool, ends, int(state[0]))
    used = int(state[0])
    buffers = [None, pa.py_buffer(ends[: used + 1].tobytes()), pa.py_buffer(pool)]
    words = pa.Array.from_buffers(pa.large_binary(), used, buffers)
    return pa.table({"word": words, "count": counts[:used]})


@njit(cache=True, nogil=True)
def _hash(data: npt.NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """FNV-1a, 64 bits, folded."""
    value = np.uint64(0xCBF29CE484222325)
    for i in range(start, stop):
        value = (value ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    return value ^ (value >> np.uint64(32))


@njit(cache=True, nogil=True)
def _rehash(
    table: npt.NDArray[np.int64], pool: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], used: int
) -> None:
    mask = np.uint64(len(table) - 1)
    for word in range(used):
        slot = _hash(pool, ends[word], ends[word + 1]) & mask
        while table[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = word


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
        while at < stop and data[at] != _BLANK and data[at] != _BREAK and data[at] != _RETURN:
            at += 1
    if at - begin > _LONGEST:
        at = begin + _LONGEST
        while at > begin + 1 and data[at] & 0xC0 == 0x80:
            at -= 1
    return at


@njit(cache=True, nogil=True)
def _fill(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[np.int64],
    pool: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
) -> bool:
    """Count the words of these texts; False, with the place in `state`, when there is no room for more."""
    mask = np.uint64(len(table) - 1)
    for row in range(state[1], len(offsets) - 1):
        at, stop = max(offsets[row], state[2]), offsets[row + 1]
        while at < stop:
            if data[at] == _BREAK or data[at] == _RETURN:
                at += 1
                continue
            begin = at
            at = _word_end(data, begin, stop)
            length = at - begin
            slot = _hash(data, begin, at) & mask
            while table[slot] >= 0:
                start = ends[table[slot]]
                if ends[table[slot] + 1] - start == length:
                    i = 0
                    while i < length and pool[start + i] == data[begin + i]:
                        i += 1
                    if i == length:
                        break
                slot = (slot + np.uint64(1)) & mask
            if table[slot] < 0:
                used = state[0]
                if used >= len(counts) or ends[used] + length > len(pool):
                    state[1], state[2] = row, begin
                    return False
                for i in range(length):
                    pool[ends[used] + i] = data[begin + i]
                ends[used + 1] = ends[used] + length
                table[slot], state[0] = used, used + 1
            counts[table[slot]] += 1
    return True
