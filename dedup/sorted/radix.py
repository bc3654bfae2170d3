"""Radix sort of u64 keys with u64 payloads, in compiled code.

Most significant digit first: hashed keys fall apart into cache-sized buckets after two passes, a bucket of
equal keys costs eight linear passes and never more, and equal keys stay in the order they came.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit, types

import gristmill.text.kernel  # noqa: F401  sets the cache folder before any njit

Numbers = npt.NDArray[np.uint64]
U64 = types.Array(types.uint64, 1, "C")
_SMALL = 40  # records below which insertion sort is quicker than 256 counters


@njit([types.void(U64, U64, types.int64, types.int64)], cache=True, nogil=True)
def _insertion_sort(keys, values, start, stop):  # type: ignore[no-untyped-def]
    for i in range(start + 1, stop):
        key, value = keys[i], values[i]
        j = i - 1
        while j >= start and keys[j] > key:
            keys[j + 1] = keys[j]
            values[j + 1] = values[j]
            j -= 1
        keys[j + 1] = key
        values[j + 1] = value


@njit([types.void(U64, U64, U64, U64)], cache=True, nogil=True)
def _sort(keys, values, spare_keys, spare_values):  # type: ignore[no-untyped-def]
    """Sort in place; every pass scatters a bucket to the spare arrays and copies it back."""
    # A stack entry is (start, stop, shift). 255 siblings wait at each of eight levels at most.
    stack = np.empty((8 * 256 + 1, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, len(keys), 56
    depth = 1
    counts = np.empty(257, np.int64)
    while depth:
        depth -= 1
        start, stop, bits = stack[depth, 0], stack[depth, 1], stack[depth, 2]
        if stop - start <= _SMALL:
            _insertion_sort(keys, values, start, stop)
            continue
        shift = np.uint64(bits)
        counts[:] = 0
        for i in range(start, stop):
            counts[np.int64((keys[i] >> shift) & np.uint64(255)) + 1] += 1
        if counts.max() < stop - start:
            for bucket in range(256):
                counts[bucket + 1] += counts[bucket]
            for i in range(start, stop):
                digit = np.int64((keys[i] >> shift) & np.uint64(255))
                place = start + counts[digit]
                spare_keys[place] = keys[i]
                spare_values[place] = values[i]
                counts[digit] += 1
            keys[start:stop] = spare_keys[start:stop]
            values[start:stop] = spare_values[start:stop]
            if bits:
                low = start
                for bucket in range(256):
                    high = start + counts[bucket]
                    if high - low > 1:
                        stack[depth, 0], stack[depth, 1], stack[depth, 2] = low, high, bits - 8
                        depth += 1
                    low = high
        elif bits:  # all keys agree on this digit: usual at the top, since a reducer holds one range of keys
            stack[depth, 0], stack[depth, 1], stack[depth, 2] = start, stop, bits - 8
            depth += 1


def sort_pairs(keys: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Return copies of keys and values sorted by key, equal keys in the order they came."""
    keys, values = np.array(keys, np.uint64), np.array(values, np.uint64)
    _sort(keys, values, np.empty_like(keys), np.empty_like(values))
    return keys, values


def argsort(keys: Numbers) -> npt.NDArray[np.int64]:
    """Return the places of the keys in ascending order, equal keys in the order they came."""
    return sort_pairs(keys, np.arange(len(keys), dtype=np.uint64))[1].astype(np.int64)


def group_starts(keys: npt.NDArray) -> npt.NDArray[np.int64]:
    """Return where each run of equal keys starts in sorted keys, and the end of the last one."""
    if len(keys) == 0:
        return np.zeros(1, np.int64)
    return np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1, [len(keys)]])
