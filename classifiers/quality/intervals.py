"""How sure a measure is: intervals of 95 % over what was drawn independently."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
_RESAMPLES, _TAIL = 200, 2.5  # per cent on either side
_BINS = 10


class Intervals:
    """Bootstrap over units: all passages of a domain are drawn together, or none."""

    def __init__(self, units: Sequence[Hashable]) -> None:
        numbers: dict[Hashable, int] = {}
        unit = np.array([numbers.setdefault(key, len(numbers)) for key in units], np.int64)
        self.num_units = len(numbers)
        order = np.argsort(unit, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(unit))[:-1]) if len(unit) else []
        generator = np.random.default_rng(0)
        self.resamples: list[Rows] = [
            np.concatenate([members[pick] for pick in generator.integers(0, len(members), len(members))])
            for _ in range(_RESAMPLES if members else 0)
        ]

    def of(self, measure: Callable[[Rows], Mapping[str, float]], labels: Mask) -> dict[str, list[float]]:
        """The interval of each number that `measure` takes of rows; resamples of one class are left out."""
        found = [measure(rows) for rows in self.resamples if 0 < labels[rows].sum() < len(rows)]
        names = found[0] if found else {}
        return {
            name: [float(edge) for edge in np.percentile([row[name] for row in found], [_TAIL, 100 - _TAIL])]
            for name in names
        }


def calibration_error(
    labels: Mask, scores: npt.NDArray[np.float32], intervals: Intervals
) -> tuple[float, list[float]]:
    """The expected calibration error over ten equal bins, and its interval.

    A finite sample of a perfect classifier has an error above 0, and a resample of it more: the lower end is
    of resamples with both variances taken off each bin's gap. A bin whose passages are all of one class shows
    resampling no error at all, so that the upper end is no less than what the bins' own intervals allow, as
    independent errors add up, with as many trials as there are units.
    """
    error = _gaps(labels, scores, 0)
    if not intervals.resamples:
        return error, [0.0, 1.0]
    plain = [_gaps(labels[rows], scores[rows], 0) for rows in intervals.resamples]
    bare = [_gaps(labels[rows], scores[rows], 2) for rows in intervals.resamples]
    low, high = float(np.percentile(bare, _TAIL)), float(np.percentile(plain, 100 - _TAIL))
    room = _room(labels, scores, intervals.num_units / len(scores))
    return error, [min(low, error), min(max(high, error + room), 1.0)]


def _room(labels: Mask, scores: npt.NDArray[np.float32], independent: float) -> float:
    """How much further from its score each bin's share can lie by Wilson's interval, added as errors are."""
    which = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    squares = 0.0
    for number in np.unique(which):
        mine = labels[which == number]
        trials = max(1, round(len(mine) * independent))
        edges = share_interval(round(float(mine.mean()) * trials), trials)
        squares += (len(mine) / len(scores) * max(abs(edge - mine.mean()) for edge in edges)) ** 2
    return float(squares**0.5)


def _gaps(labels: Mask, scores: npt.NDArray[np.float32], variances: int) -> float:
    """Sum the bins' gaps between mean score and curated share, weighted by size, less some variances."""
    which = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    sizes = np.bincount(which, minlength=_BINS).astype(np.float64)
    filled = np.maximum(sizes, 1)
    score = np.bincount(which, scores.astype(np.float64), _BINS) / filled
    curated = np.bincount(which, labels.astype(np.float64), _BINS) / filled
    squares = (score - curated) ** 2 - variances * score * (1 - score) / filled
    return float((np.sqrt(np.maximum(squares, 0)) * sizes).sum() / max(sizes.sum(), 1))


def share_interval(hits: int, trials: int) -> list[float]:
    """Wilson's score interval of a share (1927)."""
    z = 1.959964
    share, scale = hits / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z / scale * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return [max(0.0, middle - half), min(1.0, middle + half)]
