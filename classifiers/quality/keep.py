"""Which documents a quality score keeps: pure functions of ids, scores and a seed, so order and workers do
not matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.classifiers.quality.draw import draw
from gristmill.classifiers.settings import Keep, Pareto, Threshold

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cut:
    """The place of the last kept document in the order of (score down, draw up)."""

    score: float
    draw: float


@dataclass(frozen=True, slots=True)
class Kept:
    """Which documents stay, and the score each would have needed."""

    mask: npt.NDArray[np.bool_]
    bounds: Floats
    rule: str


def decide(
    keep: Keep, ids: pa.Array, scores: npt.NDArray[np.float32], seed: int, cut: Cut | None = None
) -> Kept:
    """Decide on documents; `cut` is the global quantile that `top_fraction` needs (`crossing`, then
    `find_cut`). A score that is NaN keeps nothing."""
    values = scores.astype(np.float64)
    rule = f"classify.{keep.rule}"
    if isinstance(keep, Threshold):
        return Kept(values >= keep.score, np.full(len(values), keep.score), rule)
    draws = draw(seed, ids)
    if isinstance(keep, Pareto):
        if keep.alpha == "fit":
            raise ValueError(
                "`fit` must be replaced by the fitted alpha of the model's report before documents are kept"
            )
        return Kept(draws < pareto_rate(values, keep.alpha), pareto_bounds(draws, keep.alpha), rule)
    if cut is None:
        raise ValueError("top_fraction needs the cut of all documents")
    return Kept(
        (values > cut.score) | ((values == cut.score) & (draws <= cut.draw)),
        np.full(len(values), cut.score),
        rule,
    )


def pareto_rate(scores: Floats, alpha: float) -> Floats:
    """The chance to be kept: P(Lomax(alpha) > 1 - s) = (2 - s)^-alpha, GPT-3's `np.random.pareto(alpha) > 1 -
    s`."""
    return (2.0 - scores) ** -alpha


def pareto_bounds(draws: Floats, alpha: float) -> Floats:
    """The score at which a document with this draw would be kept."""
    return 2.0 - np.maximum(draws, 2.0**-53) ** (-1.0 / alpha)


def tally(scores: npt.NDArray[np.float32]) -> dict[int, int]:
    """Count scores by the upper 16 bits of their place in the order of floats: a thousand bins at most
    between 0.0001 and 1. NaN, which is no score, is in none."""
    bins, counts = np.unique(upper_bits(scores[~np.isnan(scores)]), return_counts=True)
    return dict(zip(bins.tolist(), counts.tolist(), strict=True))


def crossing(counts: Mapping[int, int], fraction: float, num_unscored: int = 0) -> tuple[int, int]:
    """Return the bin in which the best `ceil(fraction x n)` of n documents end, and how many of it belong to
    them; documents without a score count towards n and are never among the best."""
    scored = sum(counts.values())
    left = min(scored, max(1, int(np.ceil(round(fraction * (scored + num_unscored), 6)))))
    if not left:
        return 0, 0
    for each in sorted(counts, reverse=True):
        if left <= counts[each]:
            return each, left
        left -= counts[each]
    return 0, 0


def in_bin(scores: npt.NDArray[np.float32], which: int) -> npt.NDArray[np.bool_]:
    return np.equal(upper_bits(scores), which) & ~np.isnan(scores)


def find_cut(scores: npt.NDArray[np.float32], draws: Floats, wanted: int) -> Cut:
    """Find the `wanted`-th of documents that share a bin, in the order of (score down, draw up)."""
    if not wanted:
        return Cut(0.0, -1.0)
    last = np.lexsort((draws, -scores))[wanted - 1]
    return Cut(float(scores[last]), float(draws[last]))


def upper_bits(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """The upper 16 bits of an integer that is ordered as the float is: the sign bit flipped, all bits of a
    negative."""
    bits = np.ascontiguousarray(scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> np.uint32(16)


def fit_alpha(crawled: Floats, curated: Floats) -> float:
    """Choose alpha so that what Pareto keeps of crawled scores is distributed as the curated scores are.

    GPT-3 chose 9 "to match the distribution of scores from our classifier on WebText". The distance is the
    largest difference of the two cumulative distributions (Kolmogorov and Smirnov), over alpha from 0.25 to
    32 in steps of a quarter.
    """
    edges = np.linspace(0.0, 1.0, 1001)
    target = np.searchsorted(np.sort(curated), edges, side="right") / len(curated)
    ordered = np.sort(crawled)
    best, nearest = 0.25, np.inf
    for alpha in np.arange(0.25, 32.25, 0.25):
        weights = np.concatenate(([0.0], np.cumsum(pareto_rate(ordered, alpha))))
        kept = weights[np.searchsorted(ordered, edges, side="right")] / weights[-1]
        distance = float(np.abs(kept - target).max())
        if distance < nearest - 1e-12:
            best, nearest = float(alpha), distance
    return best
