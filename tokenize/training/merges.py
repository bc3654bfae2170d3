"""Learn the merges of byte pair encoding from counted words: Sennrich et al. 2016, with pair counts kept up.

A word is a run of symbols that merges stay within. The pair that occurs most often, over all words times
their counts, becomes a symbol; only the places where it stood, and the pairs beside them, are looked at
again. A heap holds frequent pairs with the count that each had when it was entered: one that comes out with
an old count goes back.

The order is total, so that merges are a function of the words and their counts alone: the higher count, the
shorter symbol, the smaller left symbol, the smaller right one. `a a a` holds `a a` once: places are taken
from the left. Two pairs that spell the same are one symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gristmill.text import kernel  # noqa: F401  sets the cache folder before any kernel is made
from gristmill.text.ahead import fetch_ahead
from gristmill.text.borrowing import borrowed
from gristmill.text.lanes import address_of
from gristmill.tokenize.training.rare_pairs import Words, without_rare_pairs
from gristmill.tokenize.training.slots import GOLDEN, first_slot, power_of_two

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_BITS = 24  # of a symbol in a pair's key: Unicode has 1.1 million characters, a vocabulary at most as many
_MASK = (1 << _BITS) - 1
_LENGTH_SHIFT = 2 * _BITS
_MOST_BASE = 1 << 14  # base symbols of one symbol: the bits that a key has left
_PAIRS, _PLACES, _HEAP, _TOUCHED, _SYMBOLS, _LEAST = range(
    6
)  # what `num` counts, and the least count in the heap
# Of the row of a pair, half a line of the cache: of eight bytes each, and, seen as `links`, of four.
_KEY, _COUNT, _ROW = 0, 1, 4
_FIRST, _LAST, _TOUCHED_IN = 4, 5, 6
# Of a place of a symbol, as large.
_SYMBOL, _FOLLOWING, _BEFORE, _PAIR, _TIMES, _CELL = 0, 1, 2, 3, 4, 8


@dataclass(frozen=True, slots=True)
class Merges:
    """Pairs in the order in which they were merged, and the symbol that each gave; symbol s is made of the
    base symbols `spelled[ends[s] : ends[s + 1]]`."""

    left: I32
    right: I32
    made: I32
    spelled: I32
    ends: I64


class _Pairs(NamedTuple):
    """A row for each pair: its key, its count, and, in the same bytes, its first and last place (a list) and
    the merge that last added one; the pairs of the merge at work; the places, each with the next of its
    pair."""

    rows: I64
    links: I32
    touched: I32
    places: I32


class _Heap(NamedTuple):
    counts: I64
    keys: I64
    pairs: I32


class _Symbols(NamedTuple):
    """What symbols spell, and a table from that to the symbol."""

    spelled: I32
    ends: I64
    names: I32


def learn(symbols: I32, starts: I64, counts: I64, num_base: int, num_new: int, longest: int) -> Merges:
    """Merge pairs until `num_new` new symbols are made, or no pair is left.

    `symbols` holds words end to end, of values below `num_base`; `starts` where each begins and the last
    ends; `counts` how often each occurs. No symbol is made of more than `longest` base symbols. Counts above
    2^31 - 1 are taken as that. Memory: some 30 bytes for each of `symbols`, and 110 for each that is left
    where words are cut at pairs too rare to be merged.
    """
    if num_base + num_new > _MASK or longest >= _MOST_BASE:
        raise ValueError(f"{num_base:,} symbols and {num_new:,} merges of at most {longest:,} are too many")
    words = without_rare_pairs(Words(symbols, starts, counts), num_new, longest)
    size = len(words.symbols)
    most = 3 * size + 1  # a merge takes one place and adds two at most
    cells = np.empty((size, _CELL), np.int32)
    _link(cells, *words)
    rows = np.empty((most, _ROW), np.int64)
    pairs = _Pairs(rows, rows.view(np.int32), np.empty(most, np.int32), np.empty((most, 2), np.int32))
    heap = _Heap(np.empty(2 * most, np.int64), np.empty(2 * most, np.int64), np.empty(2 * most, np.int32))
    own = _Symbols(
        np.empty(num_base + num_new * longest, np.int32),
        np.zeros(num_base + num_new + 2, np.int64),
        np.zeros(power_of_two(2 * (num_base + num_new)), np.int32),
    )
    table, num = np.zeros((power_of_two(size // 4), 2), np.int64), np.zeros(6, np.int64)
    merged = np.empty((size + 1, 3), np.int32)  # every merge takes a place at least
    num_merges = _learn(cells, pairs, heap, own, table, num, merged, num_base, num_new, longest)
    left, right, made = (merged[:num_merges, column].copy() for column in range(3))
    used = int(num[_SYMBOLS])
    return Merges(left, right, made, own.spelled[: own.ends[used]].copy(), own.ends[: used + 1].copy())


@njit(cache=True, nogil=True)
def _learn(
    cells: I32, pairs: _Pairs, heap: _Heap, own: _Symbols, table: I64, num: I64, merged: I32,
    num_base: int, num_new: int, longest: int,
) -> int:  # fmt: skip
    """Fill `merged` with left, right and made symbol of each merge; return how many there are.

    The caller owns the arrays, and what is called from here takes them without counting references, which
    took two thirds of the time.
    """
    cells, num = borrowed(cells), borrowed(num)
    rows, links = borrowed(pairs.rows), borrowed(pairs.links)
    touched, places = borrowed(pairs.touched), borrowed(pairs.places)
    heap = _Heap(borrowed(heap.counts), borrowed(heap.keys), borrowed(heap.pairs))
    own = _Symbols(borrowed(own.spelled), borrowed(own.ends), borrowed(own.names))
    ends = own.ends
    for base in range(num_base):
        own.spelled[base], own.ends[base + 1] = base, base + 1
    num[_SYMBOLS] = num_base
    for at in range(len(cells)):
        _add_pair(cells, rows, links, touched, places, table, ends, num, at, -1, longest)
        if 2 * num[_PAIRS] + 4 >= len(table):
            table = _grown(table, rows, num[_PAIRS])
    merge = 0
    num[_TOUCHED], num[_LEAST] = 0, np.max(rows[: num[_PAIRS], _COUNT]) + 1 if num[_PAIRS] else 1
    while num[_SYMBOLS] < num_base + num_new:
        pair = _most_frequent(cells, rows, links, places, heap, num)
        if pair < 0:
            break
        left, right = (rows[pair, _KEY] >> _BITS) & _MASK, rows[pair, _KEY] & _MASK
        made = _symbol_of(own, num, left, right)
        merged[merge, 0], merged[merge, 1], merged[merge, 2] = left, right, made
        at, rows[pair, _COUNT], links[pair, _FIRST] = links[pair, _FIRST], 0, -1
        while at >= 0:
            following = places[at, 1]
            if following >= 0:
                _fetch_next(cells, rows, places, table, ends, following, pair, made)
            if cells[places[at, 0], _PAIR] == pair:  # else it stands there no longer
                _merge_at(
                    cells, rows, links, touched, places, table, ends, num, places[at, 0], made, merge, longest
                )
            if 2 * num[_PAIRS] + 4 >= len(table):
                table = _grown(table, rows, num[_PAIRS])
            at = following
        merge += 1
        for k in range(num[_TOUCHED]):
            _push_frequent(rows, heap, num, touched[k])
        num[_TOUCHED] = 0
    return merge


@njit(cache=True, nogil=True, inline="always")
def _fetch_next(
    cells: I32, rows: I64, places: I32, table: I64, ends: I64, at: int, pair: int, made: int
) -> None:
    """Ask for the memory that merging at the next place of a pair reads, and for the cell behind that."""
    if places[at, 1] >= 0:
        _fetch_row(cells, 4 * _CELL, places[places[at, 1], 0])
    place = places[at, 0]
    if cells[place, _PAIR] != pair:
        return
    before, after = cells[place, _BEFORE], cells[place, _FOLLOWING]
    if before >= 0 and cells[before, _PAIR] >= 0:
        _fetch_row(rows, 8 * _ROW, cells[before, _PAIR])
        _fetch_row(table, 16, first_slot(_key(ends, cells[before, _SYMBOL], made), len(table)))
    if cells[after, _FOLLOWING] >= 0 and cells[after, _PAIR] >= 0:
        _fetch_row(rows, 8 * _ROW, cells[after, _PAIR])
        key = _key(ends, made, cells[cells[after, _FOLLOWING], _SYMBOL])
        _fetch_row(table, 16, first_slot(key, len(table)))


@njit(cache=True, nogil=True, inline="always")
def _fetch_row(array: npt.NDArray[Any], num_bytes: int, row: int) -> None:
    fetch_ahead(address_of(array) + np.uint64(num_bytes) * np.uint64(row))


@njit(cache=True, nogil=True)
def _link(cells: I32, symbols: I32, starts: I64, counts: I64) -> None:
    """Fill the cell of each symbol: it, the cells beside it (-1: none), the pair that begins there (-1:
    none), and how often its word occurs."""
    for number in range(len(starts) - 1):
        for at in range(starts[number], starts[number + 1]):
            cells[at, _SYMBOL], cells[at, _TIMES] = symbols[at], counts[number]
            cells[at, _FOLLOWING] = at + 1 if at + 1 < starts[number + 1] else -1
            cells[at, _BEFORE] = at - 1 if at > starts[number] else -1
            cells[at, _PAIR] = -1


@njit(cache=True, nogil=True, inline="always")
def _merge_at(
    cells: I32,
    rows: I64,
    links: I32,
    touched: I32,
    places: I32,
    table: I64,
    ends: I64,
    num: I64,
    at: int,
    made: int,
    merge: int,
    longest: int,
) -> None:
    """Merge the pair that begins at a place, and count the pairs beside it anew."""
    after, before, times = cells[at, _FOLLOWING], cells[at, _BEFORE], cells[at, _TIMES]
    following = cells[after, _FOLLOWING]
    if before >= 0 and cells[before, _PAIR] >= 0:
        rows[cells[before, _PAIR], _COUNT] -= times
    if following >= 0:
        if cells[after, _PAIR] >= 0:
            rows[cells[after, _PAIR], _COUNT] -= times
        cells[following, _BEFORE] = at
    cells[at, _SYMBOL], cells[at, _FOLLOWING], cells[after, _PAIR] = made, following, -1
    if before >= 0:
        _add_pair(cells, rows, links, touched, places, table, ends, num, before, merge, longest)
    _add_pair(cells, rows, links, touched, places, table, ends, num, at, merge, longest)


@njit(cache=True, nogil=True, inline="always")
def _add_pair(
    cells: I32,
    rows: I64,
    links: I32,
    touched: I32,
    places: I32,
    table: I64,
    ends: I64,
    num: I64,
    at: int,
    merge: int,
    longest: int,
) -> None:
    """Enter the pair that begins at a place, if one does and it is not too long."""
    cells[at, _PAIR] = -1
    following = cells[at, _FOLLOWING]
    if following < 0:
        return
    key = _key(ends, cells[at, _SYMBOL], cells[following, _SYMBOL])
    if key >> _LENGTH_SHIFT > longest:
        return
    pair = _pair_of(rows, links, table, num, key)
    place = num[_PLACES]
    num[_PLACES] += 1
    cells[at, _PAIR], places[place, 0], places[place, 1] = pair, at, -1
    if links[pair, _FIRST] < 0:
        links[pair, _FIRST] = place
    else:
        places[links[pair, _LAST], 1] = place
    links[pair, _LAST] = place
    rows[pair, _COUNT] += cells[at, _TIMES]
    if links[pair, _TOUCHED_IN] != merge:
        links[pair, _TOUCHED_IN] = merge
        touched[num[_TOUCHED]] = pair
        num[_TOUCHED] += 1


@njit(cache=True, nogil=True)
def _most_frequent(cells: I32, rows: I64, links: I32, places: I32, heap: _Heap, num: I64) -> np.int64:
    """Take the pair to be merged next out of the heap; -1 where none is left.

    The heap holds pairs from a count on, which is halved when it is empty, so that it stays small.
    """
    while True:
        while num[_HEAP]:
            count, pair = heap.counts[0], heap.pairs[0]
            _pop(heap, num)
            left, right = (rows[pair, _KEY] >> _BITS) & _MASK, rows[pair, _KEY] & _MASK
            now = _apart(cells, links, places, pair) if left == right else rows[pair, _COUNT]
            if now == count:
                return np.int64(pair)
            if now >= num[_LEAST]:
                _push(heap, num, now, rows[pair, _KEY], pair)
        if num[_LEAST] == 1:
            return np.int64(-1)
        num[_LEAST] = max(1, num[_LEAST] // 2)
        for pair in range(num[_PAIRS]):
            _push_frequent(rows, heap, num, pair)


@njit(cache=True, nogil=True)
def _push_frequent(rows: I64, heap: _Heap, num: I64, pair: int) -> None:
    if rows[pair, _COUNT] >= num[_LEAST]:
        _push(heap, num, rows[pair, _COUNT], rows[pair, _KEY], pair)


@njit(cache=True, nogil=True)
def _apart(cells: I32, links: I32, places: I32, pair: int) -> np.int64:
    """How often a pair of twice the same symbol occurs without overlap."""
    total, taken, at = np.int64(0), np.int64(-1), links[pair, _FIRST]
    while at >= 0:
        place = np.int64(places[at, 0])
        if cells[place, _PAIR] == pair and place != taken:
            total += cells[place, _TIMES]
            taken = np.int64(cells[place, _FOLLOWING])
        at = np.int64(places[at, 1])
    return np.int64(total)


@njit(cache=True, nogil=True)
def _symbol_of(own: _Symbols, num: I64, left: int, right: int) -> np.int64:
    """The symbol that spells what two do: a new one, unless there is one already."""
    symbol = num[_SYMBOLS]
    begin = at = own.ends[symbol]
    value = np.uint64(0)
    for part in (left, right):
        for k in range(own.ends[part], own.ends[part + 1]):
            own.spelled[at] = own.spelled[k]
            value = (value ^ np.uint64(own.spelled[k])) * np.uint64(GOLDEN)
            value ^= value >> np.uint64(29)
            at += 1
    size, mask = at - begin, len(own.names) - 1
    slot = np.int64(value & np.uint64(mask))
    while own.names[slot]:
        other = np.int64(own.names[slot])
        if own.ends[other + 1] - own.ends[other] == size:
            k = 0
            while k < size and own.spelled[own.ends[other] + k] == own.spelled[begin + k]:
                k += 1
            if k == size:
                return np.int64(other)
        slot = (slot + 1) & mask
    own.names[slot], own.ends[symbol + 1] = symbol, at
    num[_SYMBOLS] += 1
    return np.int64(symbol)


@njit(cache=True, nogil=True, inline="always")
def _key(ends: I64, left: int, right: int) -> np.int64:
    """A pair's place in the order, its count aside: length, left, right."""
    length = ends[left + 1] - ends[left] + ends[right + 1] - ends[right]
    return np.int64(
        (length << np.int64(_LENGTH_SHIFT)) | (np.int64(left) << np.int64(_BITS)) | np.int64(right)
    )


@njit(cache=True, nogil=True, inline="always")
def _pair_of(rows: I64, links: I32, table: I64, num: I64, key: int) -> np.int64:
    """The number of a pair, which is entered where it is new; the table holds keys and numbers from 1."""
    mask = len(table) - 1
    slot = first_slot(key, len(table))
    while table[slot, 1]:
        if table[slot, 0] == key:
            return np.int64(table[slot, 1] - 1)
        slot = (slot + 1) & mask
    pair = num[_PAIRS]
    num[_PAIRS] += 1
    table[slot, 0], table[slot, 1] = key, pair + 1
    rows[pair, _KEY], rows[pair, _COUNT] = key, 0
    links[pair, _FIRST], links[pair, _TOUCHED_IN] = -1, -2
    return np.int64(pair)


@njit(cache=True, nogil=True)
def _grown(table: I64, rows: I64, num_pairs: int) -> I64:
    """The table of pairs, made anew four times as large."""
    grown = np.zeros((4 * len(table), 2), np.int64)
    mask = len(grown) - 1
    for pair in range(num_pairs):
        slot = first_slot(rows[pair, _KEY], len(grown))
        while grown[slot, 1]:
            slot = (slot + 1) & mask
        grown[slot, 0], grown[slot, 1] = rows[pair, _KEY], pair + 1
    return grown


@njit(cache=True, nogil=True)
def _is_before(count: int, key: int, other_count: int, other_key: int) -> bool:
    return count > other_count or (count == other_count and key < other_key)


@njit(cache=True, nogil=True)
def _push(heap: _Heap, num: I64, count: int, key: int, pair: int) -> None:
    at = num[_HEAP]
    while at:
        parent = (at - 1) >> 1
        if not _is_before(count, key, heap.counts[parent], heap.keys[parent]):
            break
        _move(heap, parent, at)
        at = parent
    heap.counts[at], heap.keys[at], heap.pairs[at] = count, key, pair
    num[_HEAP] += 1


@njit(cache=True, nogil=True)
def _pop(heap: _Heap, num: I64) -> None:
    num[_HEAP] -= 1
    size = num[_HEAP]
    count, key = heap.counts[size], heap.keys[size]
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _is_before(
            heap.counts[child + 1], heap.keys[child + 1], heap.counts[child], heap.keys[child]
        ):
            child += 1
        if not _is_before(heap.counts[child], heap.keys[child], count, key):
            break
        _move(heap, child, at)
        at = child
    _move(heap, size, at)


@njit(cache=True, nogil=True)
def _move(heap: _Heap, old: int, new: int) -> None:
    heap.counts[new], heap.keys[new], heap.pairs[new] = heap.counts[old], heap.keys[old], heap.pairs[old]
