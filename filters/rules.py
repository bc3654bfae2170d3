"""Rules: a measured number against a bound, decided in numpy from stored counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

SIDES = ("min", "max", "above", "below")
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a kept document's value must satisfy: min <= value <= max, above < value < below; None does not
    bind."""

    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None

    def violated(self, values: Floats) -> tuple[Mask, Floats]:
        """Return which values break the bound, and the side that each of them breaks."""
        failed = np.zeros(len(values), bool)
        side = np.full(len(values), np.nan)
        for limit, broken in (
            (self.max, np.greater),
            (self.below, np.greater_equal),
            (self.above, np.less_equal),
            (self.min, np.less),
        ):
            if limit is not None:
                breaks = broken(values, limit)
                failed |= breaks
                side[breaks] = limit
        return failed, side

    def with_side(self, side: str, value: float | None) -> Bound:
        return replace(self, **{side: value})

    def contradiction(self) -> str | None:
        """Say why no value can satisfy the bound, if that is so."""
        lows = [(value, name) for name in ("min", "above") if (value := getattr(self, name)) is not None]
        highs = [(value, name) for name in ("max", "below") if (value := getattr(self, name)) is not None]
        for low, low_name in lows:
            for high, high_name in highs:
                if low > high or (low == high and (low_name, high_name) != ("min", "max")):
                    return f"no value is kept by {low_name} {low:g} with {high_name} {high:g}"
        return None


@dataclass(frozen=True, slots=True)
class Rule:
    """A named bound on a signal, or on the ratio of two: both counts are stored, the division happens at
    decision.

    A ratio over nothing is 0. `bins` are the edges of the histogram that reports show of the rule's value.
    """

    name: str
    signal: str
    per: str | None
    bound: Bound
    source: str
    bins: tuple[float, ...] = ()

    def values(self, signals: Mapping[str, npt.NDArray[Any]]) -> Floats:
        numerator = signals[self.signal].astype(np.float64)
        if self.per is None:
            return numerator
        denominator = signals[self.per].astype(np.float64)
        return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)

    def bins_of(self, values: Floats) -> npt.NDArray[np.int64]:
        """The bin of each value: 0 below the first edge, 1 from it to the second, and so on."""
        return np.searchsorted(np.array(self.bins, np.float64), values, side="right")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one pass decided: failed[rule, document], with the rules' values, the sides they broke, and where
    they apply."""

    failed: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float64]
    sides: npt.NDArray[np.float64]
    applies: npt.NDArray[np.bool_]

    @property
    def removed(self) -> Mask:
        return np.asarray(self.failed.any(axis=0))


def decide(
    rules: Sequence[Rule], signals: Mapping[str, npt.NDArray[Any]], applies: Mask, num_rows: int
) -> Verdict:
    """Compare the rules of one block; documents outside `applies` pass them all."""
    shape = (len(rules), num_rows)
    verdict = Verdict(np.zeros(shape, bool), np.zeros(shape), np.full(shape, np.nan), np.ones(shape, bool))
    for index, rule in enumerate(rules):
        verdict.values[index] = rule.values(signals)
        failed, verdict.sides[index] = rule.bound.violated(verdict.values[index])
        verdict.applies[index] = applies
        verdict.failed[index] = failed & applies
    return verdict


def decide_again(rules: Sequence[Rule], verdict: Verdict, among: Mask, bounds: Mapping[str, Bound]) -> None:
    """Compare some documents with other bounds, in place."""
    for index, rule in enumerate(rules):
        if rule.name in bounds:
            failed, sides = bounds[rule.name].violated(verdict.values[index])
            verdict.sides[index] = np.where(among, sides, verdict.sides[index])
            verdict.failed[index] = np.where(among, failed & verdict.applies[index], verdict.failed[index])
