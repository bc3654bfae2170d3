"""How often each n-gram of a text's numbered words occurs: signals of repetition are read from this table."""

from __future__ import annotations

import numpy as np

from gristmill.text.kernel import part
from gristmill.text.points import finish

_ODD = np.uint64(0x9E3779B97F4A7C15)


@part
def count_ngrams(ids, start, num, n, keys, counts, slots):  # type: ignore[no-untyped-def]
    """Count the n-grams of a text in an open table; slots[i] says where that of place i is counted."""
    size = 8
    while size < 2 * num:
        size *= 2
    for slot in range(size):
        counts[slot] = 0
    mask = np.uint64(size - 1)
    for i in range(num):
        h = np.uint64(0)
        for j in range(start + i, start + i + n):
            h = h * _ODD + np.uint64(ids[j]) + np.uint64(1)
        key = finish(h)
        slot = key & mask
        while counts[slot] and keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        keys[slot] = key
        counts[slot] += 1
        slots[i] = slot
