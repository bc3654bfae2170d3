"""Whether two variants differ: bits per byte paired over documents and seeds, with the seeds' own noise.

A difference has two sources of doubt. Which documents the target happens to hold: they are drawn again with
replacement, the same for both variants (a bootstrap). Which seed a model was trained with: the residual of
variants x seeds once each variant's and each seed's mean is taken off, pooled over all variants, so that few
seeds of many variants tell it; Student's t for its few degrees of freedom. An interval holds both: its ends
are quantiles of the drawn documents' differences, each with that t around it, solved for and not drawn, so
that they are as far out as many comparisons ask for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtr
from scipy.stats import spearmanr
from scipy.stats import t as student

Floats = npt.NDArray[np.float64]
LEVEL = 0.95
VERDICT_LEVEL = 0.98  # of differences: two of one recipe come out apart in 2 of 100, not in 5
_DRAWS, _MOST_DRAWS = 2000, 20_000
_BEYOND = 4  # draws beyond an interval's end, at the least


@dataclass(frozen=True, slots=True)
class Scores:
    """Bits that a variant's models need for a target (seeds, documents), and its bytes (documents)."""

    bits: Floats
    bytes: Floats

    @property
    def per_seed(self) -> Floats:
        """Bits per byte over all documents, by seed."""
        return np.asarray(self.bits.sum(1) / self.bytes.sum())

    @property
    def mean(self) -> float:
        return float(self.per_seed.mean())


@dataclass(frozen=True, slots=True)
class Noise:
    """How much bits per byte of one recipe differ from seed to seed, and on how many degrees that rests.

    `deviation` is without what a seed does to all variants alike, `whole` with it."""

    deviation: float
    freedom: int
    whole: float = 0.0

    @property
    def known(self) -> bool:
        return self.freedom > 0


@dataclass(frozen=True, slots=True)
class Difference:
    """A variant less the reference, in bits per byte: below 0 is better.

    `told` is better, worse, within noise, or unknown (one seed has no noise to compare with)."""

    value: float
    low: float
    high: float
    noise: float
    told: str


def seed_noise(variants: Mapping[str, Scores]) -> Noise:
    """Estimate the noise of one seed from all variants of a target; models that are the same count once."""
    table = np.unique(np.stack([scores.per_seed for scores in variants.values()]), axis=0)
    count, seeds = table.shape
    if seeds < 2:
        return Noise(0.0, 0)
    whole = float(np.sqrt(table.var(1, ddof=1).mean()))
    if count < 2:
        return Noise(whole, seeds - 1, whole)
    off = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    freedom = (count - 1) * (seeds - 1)
    return Noise(float(np.sqrt((off**2).sum() / freedom)), freedom, whole)


def difference(
    variant: Scores,
    reference: Scores,
    noise: Noise,
    *,
    comparisons: int = 1,
    level: float = VERDICT_LEVEL,
    seed: int = 0,
) -> Difference:
    """Compare a variant with the reference; `comparisons` share the chance to be wrong (Bonferroni)."""
    value = variant.mean - reference.mean
    tail = (1 - level) / max(1, comparisons) / 2
    off = variant.bits.mean(0) - reference.bits.mean(0)
    spread = noise.deviation * math.sqrt(2 / len(variant.bits))
    low, high = _between(off, variant.bytes, spread, noise.freedom, tail, seed)
    if not noise.known:
        return Difference(value, low, high, 0.0, "unknown")
    told = "better" if high < 0 else "worse" if low > 0 else "within noise"
    return Difference(value, low, high, noise.deviation, told)


def interval_of_mean(
    scores: Scores, noise: Noise, *, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The interval of a variant's own bits per byte over documents and seeds."""
    spread = noise.whole / math.sqrt(len(scores.bits))
    return _between(scores.bits.mean(0), scores.bytes, spread, noise.freedom, (1 - level) / 2, seed)


def _between(
    bits: Floats, num_bytes: Floats, spread: float, freedom: int, tail: float, seed: int
) -> tuple[float, float]:
    """The quantiles `tail` and 1 - `tail` of bits per byte over drawn documents, plus t times `spread`."""
    draws = min(_MOST_DRAWS, max(_DRAWS, math.ceil(_BEYOND / tail)))
    weights = _documents(len(bits), draws, seed)
    drawn = np.asarray(weights @ bits / (weights @ num_bytes), np.float64)
    if freedom < 1 or spread <= 0:
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return float(low), float(high)

    def end(share: float) -> float:
        def over(x: float) -> float:
            return float(stdtr(freedom, (x - drawn) / spread).mean()) - share

        far = float(student.ppf(share, freedom)) * spread
        return float(brentq(over, drawn.min() + far - spread, drawn.max() + far + spread, rtol=1e-10))

    return end(tail), end(1 - tail)


@functools.lru_cache(maxsize=4)
def _documents(count: int, draws: int, seed: int) -> npt.NDArray[np.float32]:
    """How often each of `count` documents is taken in each draw: the same for all variants of a target."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), draws).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well a proxy ranks variants as trained models do: pairs in the same order, and Spearman's rho."""

    pairs: int
    accuracy: float
    rho: float
    low: float
    high: float


def agreement(proxy: Floats, trained: Floats, *, level: float = LEVEL, seed: int = 0) -> Agreement | None:
    """Compare rankings of the same variants, less being better in both; None of fewer than three.

    The interval of rho is a bootstrap over variants.
    """
    count = len(trained)
    if count < 3:
        return None
    i, j = np.triu_indices(count, 1)
    apart = (trained[i] != trained[j]) & (proxy[i] != proxy[j])
    same = np.sign(proxy[i] - proxy[j]) == np.sign(trained[i] - trained[j])
    rng = np.random.default_rng(seed)
    drawn = []
    for chosen in rng.integers(0, count, (500, count)):
        if len(np.unique(trained[chosen])) > 2 and len(np.unique(proxy[chosen])) > 2:
            drawn.append(float(spearmanr(proxy[chosen], trained[chosen]).statistic))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if drawn else (-1.0, 1.0)
    whole = len(np.unique(proxy)) > 1 and len(np.unique(trained)) > 1
    rho = float(spearmanr(proxy, trained).statistic) if whole else 0.0
    return Agreement(
        int(apart.sum()), float(same[apart].mean()) if apart.any() else 0.5, rho, float(low), float(high)
    )
