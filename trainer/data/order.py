"""The order of samples: keyed permutations, and the blend of sources. Pure functions of (seed, sample
number).

Nothing here keeps state: which sample comes as number n does not depend on ranks, workers, prefetch or
restarts.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from gristmill.errors import UsageError
from gristmill.splitmix import finalise

U64 = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_ROUNDS = 8


class Permutation:
    """A keyed bijection of 0..n-1 in constant memory: a Feistel network on the next power of two,
    cycle-walking back into n."""

    def __init__(self, n: int, *key: int | str) -> None:
        self.n = n
        bits = max(2, (n - 1).bit_length())
        self.low_bits = bits - bits // 2
        self.low_mask, self.high_mask = np.uint64((1 << self.low_bits) - 1), np.uint64((1 << bits // 2) - 1)
        text = "/".join(map(str, key)).encode()
        self.keys = np.frombuffer(hashlib.blake2b(text, digest_size=8 * _ROUNDS).digest(), dtype="<u8")

    def __call__(self, index: Ints | list[int] | int) -> Ints:
        x = np.atleast_1d(np.asarray(index, dtype=np.uint64))
        x = self._encrypt(x)
        while (outside := x >= np.uint64(self.n)).any():  # expected below two walks per element
            x[outside] = self._encrypt(x[outside])
        return x.astype(np.int64)

    def _encrypt(self, x: U64) -> U64:
        high, low = x >> np.uint64(self.low_bits), x & self.low_mask
        for turn, key in enumerate(self.keys):
            if turn % 2:
                low = low ^ (finalise(high ^ key) & self.low_mask)
            else:
                high = high ^ (finalise(low ^ key) & self.high_mask)
        return (high << np.uint64(self.low_bits)) | low


class EpochOrder:
    """Sample number -> index, epoch after epoch, each in a new permutation.

    With `groups` (ends of index ranges), the groups are permuted, and samples only inside their group: reads
    stay in a few shards at a time, which a bounded cache of remote shards needs.
    """

    def __init__(self, n: int, seed: int, purpose: str, groups: list[int] | None = None) -> None:
        self.n, self.seed, self.purpose, self.groups = n, seed, purpose, groups

    def __call__(self, number: int) -> int:
        epoch, place = divmod(number, self.n)
        if self.groups is None:
            return int(Permutation(self.n, self.seed, self.purpose, epoch)(place)[0])
        order = Permutation(len(self.groups), self.seed, self.purpose, "groups", epoch)(
            list(range(len(self.groups)))
        )
        starts = [0, *self.groups[:-1]]
        ends = np.cumsum([self.groups[g] - starts[g] for g in order]).tolist()
        turn = bisect_right(ends, place)
        group = int(order[turn])
        size = self.groups[group] - starts[group]
        inside = Permutation(size, self.seed, self.purpose, epoch, group)(place - (ends[turn] - size))
        return starts[group] + int(inside[0])

    def many(self, first: int, count: int) -> Ints:
        """Return the indices of sample numbers `first` to `first + count`, in their order."""
        found = [np.empty(0, np.int64)]
        while count > 0:
            epoch, place = divmod(first, self.n)
            part = min(count, self.n - place)
            found += self._inside(epoch, place, place + part)
            first, count = first + part, count - part
        return np.concatenate(found)

    def _inside(self, epoch: int, start: int, stop: int) -> list[Ints]:
        """Return the indices of places `start` to `stop` of an epoch, group by group."""
        if self.groups is None:
            return [Permutation(self.n, self.seed, self.purpose, epoch)(np.arange(start, stop))]
        sizes = np.diff(self.groups, prepend=0)
        order = Permutation(len(sizes), self.seed, self.purpose, "groups", epoch)(np.arange(len(sizes)))
        ends = np.cumsum(sizes[order])
        found = []
        for turn in range(*np.searchsorted(ends, [start, stop - 1], side="right") + np.array([0, 1])):
            group = int(order[turn])
            size = int(sizes[group])
            begin = int(ends[turn]) - size
            own = np.arange(max(start, begin), min(stop, begin + size)) - begin
            keyed = Permutation(size, self.seed, self.purpose, epoch, group)
            found.append(self.groups[group] - size + keyed(own))
        return found


class Blend:
    """Which source sample number n comes from, and its index within that source.

    Source i's k-th sample is due at (k + 1/2) / w_i, and samples come in the order they are due: every source
    stays within half a sample of its due time, so its count is off w_i n by at most (1 + S w_i) / 2 after any
    n, for S sources. A number is found by bisection over the due time, so no prefix of the sequence is ever
    kept or replayed.
    """

    def __init__(self, weights: list[float]) -> None:
        total = sum(weights)
        if not (weights and min(weights) >= 0 and 0 < total < math.inf):
            raise UsageError(f"source weights must be finite, at least 0 and not all 0, got {weights}")
        self.weights = np.asarray(weights, dtype=np.float64) / total

    def __call__(self, number: int) -> tuple[int, int]:
        before, due = self._around(number)
        source = int(due[number - int(before.sum())])
        return source, int(before[source])

    def many(self, first: int, count: int) -> tuple[Ints, Ints]:
        """Return source and index of sample numbers `first` to `first + count`, in their order."""
        before, after = self.counts(first), self.counts(first + count)
        sources = np.repeat(np.arange(len(before)), after - before)
        starts = np.cumsum(after - before) - (after - before)
        indices = np.arange(count) - np.repeat(starts - before, after - before)
        order = np.lexsort((sources, self._moments(sources, indices)))
        return sources[order], indices[order]

    def _moments(self, sources: Ints, indices: Ints) -> npt.NDArray[np.float64]:
        """Return when each sample is due, the first float at which `_due` counts it."""
        weights = self.weights[sources]
        time = (indices + 0.5) / weights

        def due(when: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
            counted: npt.NDArray[np.bool_] = np.floor(weights * when + 0.5) > indices
            return counted

        while (early := ~due(time)).any():
            time = np.where(early, np.nextafter(time, np.inf), time)
        while (late := due(np.nextafter(time, -np.inf))).any():
            time = np.where(late, np.nextafter(time, -np.inf), time)
        return time

    def counts(self, number: int) -> Ints:
        """Return how many samples of each source lie before sample `number`."""
        before, due = self._around(number)
        before[due[: number - int(before.sum())]] += 1
        return before

    def _around(self, number: int) -> tuple[Ints, Ints]:
        """Bisect to the moment at which sample `number` is due: counts just before it, and the sources due
        then, in order."""
        low, high = max(0.0, float(number - len(self.weights))), float(number + len(self.weights) + 1)
        while low < (middle := (low + high) / 2) < high:  # to the last bit of a float
            low, high = (middle, high) if int(self._due(middle).sum()) <= number else (low, middle)
        before = self._due(low)
        return before, np.flatnonzero(self._due(high) > before)

    def _due(self, time: float) -> Ints:
        return np.floor(self.weights * time + 0.5).astype(np.int64)
