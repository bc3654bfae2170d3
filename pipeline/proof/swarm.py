"""Which mixture of sources is best for each target: a swarm of small runs, a fit, and its optimum under caps.

Weights are drawn from a Dirichlet around the natural or given ones. A target's bits per byte are fitted as
c + exp(sum over sources of t_i w_i) (data mixing laws, Ye et al. 2024), in its log-linear part by ridge
regression, with leave-one-out error; the best mixture is the least predicted mean over targets among those
that no cap on epochs forbids. What is best by a fit is so by its noise, too: the swarm is drawn again, each
draw's own best is judged by the whole swarm's fit, and by what it falls short there (optimism, Efron 1983)
the predicted gain and its interval are lessened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from gristmill.errors import UsageError
from gristmill.pipeline.proof.comparing import Floats

_RIDGE = 1e-3
_DRAWS = 200
_LEAST = 1e-4  # share of a source in a draw: every source has documents in every run


@dataclass(frozen=True, slots=True)
class TargetFit:
    """log bits per byte = intercept + slopes . weights, and its leave-one-out error, relative."""

    intercept: float
    slopes: Floats
    error: float

    def predict(self, weights: Floats) -> float:
        return float(np.exp(self.intercept + self.slopes @ weights))


@dataclass(frozen=True, slots=True)
class Best:
    """The best weights, the predicted mean over targets of them and of the start, what of that gain is the
    choice's own luck, and the interval of the gain without it."""

    weights: Floats
    predicted: float
    start: float
    optimism: float
    low: float
    high: float


def draw_weights(centre: Floats, runs: int, spread: float, seed: int) -> Floats:
    """Draw `runs` mixtures from a Dirichlet of mean `centre`; the first is the centre itself.

    `spread` is the number of observations that the centre is worth: small is wide.
    """
    if runs < len(centre) + 2:
        raise UsageError(
            f"a swarm over {len(centre)} sources needs at least {len(centre) + 2} runs, got {runs}",
            hint="about 5 for each source tell their weights apart",
        )
    drawn = np.random.default_rng(seed).dirichlet(np.maximum(centre * spread, 0.05), runs - 1)
    drawn = np.maximum(drawn, _LEAST)
    return np.concatenate([centre[None], drawn / drawn.sum(1, keepdims=True)])


def fit_target(weights: Floats, loss: Floats) -> TargetFit:
    """Fit one target; its error is each run's, predicted from the others."""
    intercept, slopes = _ridge(weights, np.log(loss))
    off = []
    for held in range(len(loss)):
        others = np.arange(len(loss)) != held
        base, slope = _ridge(weights[others], np.log(loss[others]))
        off.append(np.exp(base + slope @ weights[held]) / loss[held] - 1)
    return TargetFit(intercept, slopes, float(np.sqrt(np.mean(np.square(off)))))


def best_mixture(
    weights: Floats, losses: Mapping[str, Floats], most: Floats, start: Floats, seed: int = 0
) -> Best:
    """The weights of least predicted mean within `most` of each source and the range of the swarm.

    Raises UsageError where the caps leave less than a whole mixture.
    """
    if most.sum() < 1:
        raise UsageError(
            f"the caps on epochs leave {most.sum():.2f} of the tokens: no mixture fits",
            hint="train on fewer tokens, or raise mix.max_epochs",
        )
    bound = np.minimum(most, weights.max(0))
    if bound.sum() < 1:
        bound = most
    table = np.stack(list(losses.values()), 1)
    whole = _fits(weights, table)
    found = _optimum(whole, bound, start)
    rng, gains, lucky = np.random.default_rng(seed), list[float](), list[float]()
    for chosen in rng.integers(0, len(table), (_DRAWS, len(table))):
        if len(np.unique(chosen)) < weights.shape[1] + 1:
            continue
        fits = _fits(weights[chosen], table[chosen])
        own = _optimum(fits, bound, start)
        gains.append(_gain(fits, start, found))
        lucky.append(_gain(fits, start, own) - _gain(whole, start, own))
    optimism = max(0.0, float(np.mean(lucky))) if lucky else 0.0
    low, high = np.quantile(gains, [0.025, 0.975]) - optimism if gains else (float("nan"), float("nan"))
    return Best(found, _mean(whole, found), _mean(whole, start), optimism, float(low), float(high))


def _fits(weights: Floats, table: Floats) -> list[TargetFit]:
    return [TargetFit(*_ridge(weights, np.log(column)), 0.0) for column in table.T]


def _gain(fits: Sequence[TargetFit], start: Floats, weights: Floats) -> float:
    return _mean(fits, start) - _mean(fits, weights)


def _optimum(fits: Sequence[TargetFit], most: Floats, start: Floats) -> Floats:
    begin = np.minimum(start, most)
    begin = begin + (1 - begin.sum()) * (most - begin) / max(1e-12, (most - begin).sum())
    found = minimize(
        lambda w: _mean(fits, w),
        begin,
        method="SLSQP",
        bounds=[(0.0, float(high)) for high in most],
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}],
        options={"maxiter": 500, "ftol": 1e-12},
    )
    best = np.clip(found.x, 0, most)
    return np.asarray(best / best.sum())


def _mean(fits: Sequence[TargetFit], weights: Floats) -> float:
    return float(np.mean([fit.predict(weights) for fit in fits]))


def _ridge(weights: Floats, y: Floats) -> tuple[float, Floats]:
    """Weights sum to 1, so the intercept is the mean's and slopes are told apart by a little ridge."""
    centre, mean = weights.mean(0), float(y.mean())
    x = weights - centre
    slopes = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (y - mean))
    return mean - float(slopes @ centre), np.asarray(slopes)
