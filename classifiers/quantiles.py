"""Exact quantiles of scores by group, over any number of documents in bounded memory.

    cuts = quantiles(read, sizes_of)   # read() yields (group, float32 values), the same at every call

All is read twice: once to count values by the upper 16 bits of their place in the order of floats, which says
in which of those bins a quantile lies, and once to sort the values of these bins alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from gristmill.classifiers.quality.keep import upper_bits

Values = npt.NDArray[np.float32]
Grouped = Iterable[tuple[str, Values]]


def quantiles(
    read: Callable[[], Grouped], sizes_of: Callable[[int], list[int]], below: float = 0.0
) -> dict[str, list[float]]:
    """Return for each group the values at some ranks: `sizes_of(n)` says how many of its n values lie at or
    below each cut. A cut that no value lies at or below is `below`."""
    counts: dict[str, npt.NDArray[np.int64]] = defaultdict(lambda: np.zeros(1 << 16, np.int64))
    for group, values in read():
        counts[group] += np.bincount(upper_bits(values), minlength=1 << 16)
    places = {
        group: [_place(own, size) for size in sizes_of(int(own.sum()))] for group, own in counts.items()
    }
    near: dict[tuple[str, int], list[Values]] = {
        (group, which): [] for group, own in places.items() for which, _ in own
    }
    for group, values in read():
        bins = upper_bits(values)
        for which in {which for which, _ in places[group]}:
            near[group, which].append(values[bins == which])
    ordered = {key: np.sort(np.concatenate([*parts, np.empty(0, np.float32)])) for key, parts in near.items()}
    return {
        group: [float(ordered[group, which][rank - 1]) if rank else below for which, rank in own]
        for group, own in sorted(places.items())
    }


def _place(counts: npt.NDArray[np.int64], size: int) -> tuple[int, int]:
    """The bin of the `size`-th smallest value, and its rank in there from 1; rank 0 where there is none."""
    if not size:
        return 0, 0
    ends = np.cumsum(counts)
    which = int(np.searchsorted(ends, size))
    return which, size - int(ends[which] - counts[which])
