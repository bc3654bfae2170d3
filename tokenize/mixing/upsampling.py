"""How often each quality bucket is taken: Olmo 3's upsampling curves, or a table of one's own.

    factors = olmo_3([100] * 20, target=2500, discard=0.4, most=7.0)  # of a topic's buckets, the lowest first

The curve is allenai/dolma3's (datasets/dolma3_mix/mixes/simple_mixing.py at f7def58): C x^p e^(r x)
over the quantiles of a topic's tokens, x being 0 where the buckets end that lie wholly in the lowest
`discard`. C makes its integral what is wanted of the topic; the mean over the highest bucket is `most` at
most. Of p, in 20 steps from 0.01 to 2, the largest that allows this is taken, then the largest r in [0, 2]. A
bucket is taken as often as the curve is high on average over it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

POWERS = np.linspace(0.01, 2.0, 20)
MOST_RATE = 2.0
_STEPS = 50  # of the bisection
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)  # on [-1, 1]


def olmo_3(tokens: Sequence[int], target: float, discard: float, most: float) -> list[float]:
    """Return how often each bucket is taken so that `target` tokens are.

    `tokens` are those of a topic's buckets, the lowest first. Raises ValueError with the most tokens that can
    be taken where that is fewer.
    """
    edges = np.concatenate(([0], np.cumsum(tokens))) / sum(tokens)
    first = int(np.flatnonzero(edges > discard)[0]) - 1  # the first bucket that is not wholly discarded
    places = edges[first:] - edges[first]
    sizes = np.diff(places)
    last = int(np.flatnonzero(sizes)[-1])
    ratio = target / sum(tokens)

    def means(power: float, rate: float) -> npt.NDArray[np.float64]:
        areas = np.array([_area(low, high, power, rate) for low, high in itertools.pairwise(places)])
        taken = ratio * areas / areas.sum()
        return np.asarray(np.divide(taken, sizes, out=np.zeros(len(sizes)), where=sizes > 0), np.float64)

    def fits(power: float, rate: float) -> bool:
        return bool(means(power, rate)[last] <= most + 1e-6)

    powers = [float(power) for power in POWERS if fits(float(power), 0.0)]
    if not powers:
        largest = sum(tokens) * ratio * most / means(float(POWERS[0]), 0.0)[last]
        raise ValueError(int(largest))
    power, low, high = powers[-1], 0.0, MOST_RATE
    if fits(power, high):
        low = high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(power, middle) else (low, middle)
    return [*[0.0] * first, *means(power, low).tolist()]


def _area(low: float, high: float, power: float, rate: float) -> float:
    """The integral of x^p e^(r x); u = x^(p + 1) takes away the steep beginning."""
    if high <= low:
        return 0.0
    start, end = low ** (power + 1), high ** (power + 1)
    u = (end - start) / 2 * _NODES + (end + start) / 2
    return float((end - start) / 2 * (_WEIGHTS * np.exp(rate * u ** (1 / (power + 1)))).sum() / (power + 1))
