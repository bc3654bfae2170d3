"""Tables of open addressing: how many slots they have, and where a key is looked for first."""

from __future__ import annotations

import numpy as np
from numba import njit

from gristmill.text import kernel  # noqa: F401  sets the cache folder before any kernel is made

GOLDEN = 0x9E3779B97F4A7C15


@njit(cache=True, nogil=True)
def power_of_two(least: int) -> int:
    """The number of slots of a table: the least power of two that is not smaller, and 16 at least."""
    power = 16
    while power < least:
        power *= 2
    return power


@njit(cache=True, nogil=True, inline="always")
def first_slot(key: int, num_slots: int) -> np.int64:
    """Where a key is looked for first, in a table of a power of two of slots."""
    value = np.uint64(key) * np.uint64(GOLDEN)
    return np.int64((value ^ (value >> np.uint64(31))) & np.uint64(num_slots - 1))
