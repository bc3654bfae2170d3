"""Hashes of all windows of n units of texts: words with what stands between them, or bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit, types

import gristmill.text.kernel  # noqa: F401  sets the cache folder before any njit
from gristmill.dedup.sorted.radix import U64, Numbers
from gristmill.text.kernel import BYTES
from gristmill.text.points import finish
from gristmill.text.words import text_spans, words_of

I64 = types.Array(types.int64, 1, "C")
Places = npt.NDArray[np.int64]
_FACTORS = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7)  # odd, one for each hash


@dataclass(frozen=True)
class Units:
    """The units of a batch of texts: text i has units bounds[i]:bounds[i + 1], each with its bytes' place in
    the batch; `base` is where each text begins."""

    start: Places
    end: Places
    bounds: Places
    base: Places
    own: Numbers  # hash of a unit alone, as a window ends with it
    inner: Numbers  # hash of a unit and what stands behind it, up to the next


@njit([types.void(BYTES, I64, I64, U64)], cache=True, nogil=True)
def _hash_spans(data, starts, ends, hashes):  # type: ignore[no-untyped-def]
    for i in range(len(starts)):
        h = np.uint64(0xCBF29CE484222325)
        for place in range(starts[i], ends[i]):
            h = (h ^ np.uint64(data[place])) * np.uint64(0x100000001B3)
        hashes[i] = finish(h + np.uint64(ends[i] - starts[i]))


def word_units(text: pa.ChunkedArray) -> Units:
    """The words of texts, between white space."""
    base, _stops, data = text_spans(text)
    words = words_of(text)
    start, end = (np.ascontiguousarray(places, np.int64) for places in (words.start, words.end))
    bounds = np.ascontiguousarray(words.rows, np.int64)
    follow = np.append(start[1:], 0)
    last = bounds[1:][np.diff(bounds) > 0] - 1
    follow[last] = end[last]
    own, inner = np.empty(len(start), np.uint64), np.empty(len(start), np.uint64)
    _hash_spans(data, start, end, own)
    _hash_spans(data, start, follow, inner)
    return Units(start, end, bounds, np.asarray(base, np.int64), own, inner)


def byte_units(text: pa.ChunkedArray) -> Units:
    """The bytes of texts."""
    starts, stops, data = text_spans(text)
    base = np.asarray(starts, np.int64)
    size = np.asarray(stops, np.int64) - base
    bounds = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    start = np.arange(bounds[-1]) + np.repeat(base - bounds[:-1], size)
    table = np.empty(256, np.uint64)
    _hash_spans(np.arange(256, dtype=np.uint8), np.arange(256), np.arange(1, 257), table)
    own = table[data[start]]
    return Units(start, start + 1, bounds, base, own, own)


@njit([types.void(U64, U64, I64, types.int64, types.uint64, U64)], cache=True, nogil=True)
def _hash_windows(own, inner, bounds, n, factor, out):  # type: ignore[no-untyped-def]
    """Roll a polynomial mod 2^64 over the inner hashes of n - 1 units, then mix the last unit's own in."""
    outgoing = np.uint64(1)
    for _ in range(n - 1):
        outgoing *= factor
    for doc in range(len(bounds) - 1):
        h = np.uint64(0)
        for i in range(bounds[doc], bounds[doc + 1]):
            first = i - n + 1
            if first >= bounds[doc]:
                out[first] = finish(finish(h) * factor + own[i])
            h = h * factor + inner[i]
            if n > 1 and first >= bounds[doc]:
                h -= inner[first] * outgoing
            elif n == 1:
                h = np.uint64(0)


def hash_windows(units: Units, n: int, which: int) -> Numbers:
    """Return the hash of the n units that begin with each one (0 where a text ends before), by one of three
    functions."""
    out = np.zeros(len(units.own), np.uint64)
    _hash_windows(units.own, units.inner, units.bounds, n, np.uint64(_FACTORS[which]), out)
    return out


@njit([types.void(U64, I64, types.int64, types.int64, I64)], cache=True, nogil=True)
def _smallest(hashes, bounds, n, k, places):  # type: ignore[no-untyped-def]
    queue = np.empty(n - k + 2, np.int64)
    for doc in range(len(bounds) - 1):
        head, tail = 0, 0  # of the queue, taken round: places of rising hashes
        for i in range(bounds[doc], bounds[doc + 1] - k + 1):
            while tail > head and hashes[queue[(tail - 1) % len(queue)]] > hashes[i]:
                tail -= 1
            queue[tail % len(queue)] = i
            tail += 1
            first = i - (n - k)
            if queue[head % len(queue)] < first:
                head += 1
            if first >= bounds[doc]:
                places[first] = queue[head % len(queue)]


def smallest_of_windows(hashes: Numbers, bounds: Places, n: int, k: int) -> Places:
    """Return for every window of n units where the first of its smallest hashes of k units is; -1 where no
    window begins."""
    places = np.full(len(hashes), -1, np.int64)
    _smallest(hashes, bounds, n, k, places)
    return places
