"""Whether two variants differ: bits per byte paired over documents and seeds, with the seeds' own noise.

A difference has two sources of doubt. Which documents the target happens to hold: they are drawn again with
replacement, the same for both variants (a bootstrap). Which seed a model was trained with: the residual of
variants x seeds once each variant's and each seed's mean is taken off, pooled over all variants, so that few
seeds of many variants tell it; Student's t for its few degrees of freedom. An interval holds both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from scipy.stats import t as student

Floats = npt.NDArray[np.float64]
LEVEL = 0.95
VERDICT_LEVEL = 0.98  # of differences: two of one recipe come out apart in 2 of 100, not in 5
_DRAWS = 2000


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
    """How much bits per byte of one recipe differ from seed to seed, and on how many degrees that rests."""

    deviation: float
    freedom: int

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
    """Estimate the noise of one seed from all variants of a target."""
    table = np.stack([scores.per_seed for scores in variants.values()])
    count, seeds = table.shape
    if seeds < 2:
        return Noise(0.0, 0)
    if count < 2:
        return Noise(float(table.std(ddof=1)), seeds - 1)
    off = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    freedom = (count - 1) * (seeds - 1)
    return Noise(float(np.sqrt((off**2).sum() / freedom)), freedom)


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
    share = (1 - level) / max(1, comparisons)
    rng = np.random.default_rng(seed)
    off = variant.bits.mean(0) - reference.bits.mean(0)
    count = len(off)
    weights = rng.multinomial(count, np.full(count, 1 / count), _DRAWS).astype(np.float64)
    drawn = (weights @ off) / (weights @ variant.bytes)
    if not noise.known:
        low, high = np.quantile(drawn, [share / 2, 1 - share / 2])
        return Difference(value, float(low), float(high), 0.0, "unknown")
    spread = noise.deviation * np.sqrt(2 / len(variant.bits))
    drawn = drawn + student.rvs(noise.freedom, size=_DRAWS, random_state=rng) * spread
    low, high = np.quantile(drawn, [share / 2, 1 - share / 2])
    told = "better" if high < 0 else "worse" if low > 0 else "within noise"
    return Difference(value, float(low), float(high), noise.deviation, told)


def interval_of_mean(
    scores: Scores, noise: Noise, *, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """The interval of a variant's own bits per byte over documents and seeds."""
    rng = np.random.default_rng(seed)
    bits, count = scores.bits.mean(0), len(scores.bytes)
    weights = rng.multinomial(count, np.full(count, 1 / count), _DRAWS).astype(np.float64)
    drawn = (weights @ bits) / (weights @ scores.bytes)
    if noise.known:
        spread = noise.deviation / np.sqrt(len(scores.bits))
        drawn = drawn + student.rvs(noise.freedom, size=_DRAWS, random_state=rng) * spread
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
