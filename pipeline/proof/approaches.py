"""Other ways to read a ladder: Kaplan's power laws, Chinchilla's envelope (1) and IsoFLOP parabolas (2).

Known biases, which `fit` says with its numbers: parabolas are off where sizes do not sit around the minimum
and where alpha differs from beta, even without noise (arXiv 2603.22339); exponents depend on which parameters
N counts (Porian et al. 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from gristmill.pipeline.proof.laws import FLOPS_PER_TOKEN, Floats

_BAND = 0.06  # of log10 C: runs this close are of one budget
_LEAST_SIZES = 4  # in a budget, for a parabola
_ENVELOPE_POINTS = 1500  # FLOP counts at which the best size is read off (Hoffmann et al. 2022, appendix D.1)


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = scale x^exponent, by least squares of logarithms."""

    scale: float
    exponent: float
    points: int

    def __call__(self, x: float) -> float:
        return float(self.scale * x**self.exponent)


@dataclass(frozen=True, slots=True)
class Budget:
    """Runs of one FLOP budget, the parabola's minimum, and whether sizes lie on both sides of it."""

    flops: float
    n_opt: float
    loss: float
    sizes: int
    is_centred: bool


@dataclass(frozen=True, slots=True)
class Kaplan:
    """L(N, D) = ((Nc / N)^(aN / aD) + Dc / D)^aD (Kaplan et al. 2020, equation 1.5)."""

    n_c: float
    d_c: float
    alpha_n: float
    alpha_d: float

    def loss(self, n: Floats, d: Floats) -> Floats:
        inner = (self.n_c / n) ** (self.alpha_n / self.alpha_d) + self.d_c / d
        return np.asarray(inner**self.alpha_d, np.float64)


def power_law(x: Floats, y: Floats) -> PowerLaw | None:
    """None of fewer than two distinct x."""
    if len(np.unique(x)) < 2:
        return None
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return PowerLaw(float(math.exp(intercept)), float(slope), len(x))


def fit_kaplan(n: Floats, d: Floats, loss: Floats) -> Kaplan:
    """Fit by robust least squares of log loss; without an irreducible loss, as Kaplan et al. have it."""
    x, y, z = np.log(n), np.log(d), np.log(loss)

    def off(theta: Floats) -> Floats:
        log_nc, log_dc, alpha_n, alpha_d = theta
        return np.asarray(alpha_d * np.logaddexp(alpha_n / alpha_d * (log_nc - x), log_dc - y) - z)

    begin = np.array([math.log(8.8e13), math.log(5.4e13), 0.076, 0.095])  # table 5 of the paper
    found = least_squares(
        off,
        begin,
        loss="huber",
        f_scale=1e-3,
        bounds=([0, 0, 1e-3, 1e-3], [200, 200, 3, 3]),
        x_scale=[10, 10, 0.1, 0.1],
        max_nfev=4000,
    )
    log_nc, log_dc, alpha_n, alpha_d = (float(value) for value in found.x)
    return Kaplan(math.exp(log_nc), math.exp(log_dc), alpha_n, alpha_d)


def frontier(c: Floats, loss: Floats) -> Floats:
    """The rows, by ascending C, whose loss no run of fewer FLOPs reaches."""
    order = np.argsort(c, kind="stable")
    best = np.minimum.accumulate(loss[order])
    return np.asarray(order[loss[order] <= best])


def envelope(n: Floats, d: Floats, loss: Floats) -> tuple[PowerLaw, PowerLaw] | None:
    """Approach 1: at many FLOP counts the size whose curve is lowest, then N_opt and D_opt by powers of C.

    Curves are rows of one size, read between their points in log C. Where sizes have no curves, the rows
    that no cheaper run beats stand for the envelope. None where the best size never changes.
    """
    sizes = [size for size in np.unique(n) if (n == size).sum() >= 3]
    c = FLOPS_PER_TOKEN * n * d
    if len(sizes) < 3:
        best = frontier(c, loss)
        found = power_law(c[best], n[best]), power_law(c[best], d[best])
        return (found[0], found[1]) if found[0] and found[1] and found[0].points >= 4 else None
    curves = []
    for size in sizes:
        mine = np.flatnonzero(n == size)
        mine = mine[np.argsort(d[mine])]
        curves.append((float(size), np.log(c[mine]), np.log(loss[mine])))
    grid = np.linspace(min(x[0] for _, x, _ in curves), max(x[-1] for _, x, _ in curves), _ENVELOPE_POINTS)
    table = np.stack([np.interp(grid, x, y, left=np.inf, right=np.inf) for _, x, y in curves])
    at = table.argmin(0)
    # At either end only one size has a curve: what is best there says nothing.
    inner = np.isfinite(table).sum(0) >= 2
    chosen = np.array([curves[row][0] for row in at])[inner]
    flops = np.exp(grid)[inner]
    if len(np.unique(chosen)) < 2:
        return None
    one, other = power_law(flops, chosen), power_law(flops, flops / (FLOPS_PER_TOKEN * chosen))
    return (one, other) if one and other else None


def isoflop(n: Floats, d: Floats, loss: Floats) -> tuple[list[Budget], PowerLaw | None]:
    """Approach 2: at each FLOP budget a parabola of loss over log N, and N_opt by a power of C.

    Rows within 0.06 decades of C are of one budget; without such groups of four sizes, curves of each size
    are read at common budgets. Budgets whose minimum lies outside their sizes are listed but not fitted.
    """
    budgets = [
        budget
        for group in _groups(n, d, loss)
        if (budget := _parabola(*group)) is not None
    ]  # fmt: skip
    used = [budget for budget in budgets if budget.is_centred]
    law = power_law(np.array([budget.flops for budget in used]), np.array([budget.n_opt for budget in used]))
    return budgets, law


def _groups(n: Floats, d: Floats, loss: Floats) -> list[tuple[float, Floats, Floats]]:
    c = FLOPS_PER_TOKEN * n * d
    logs, left, groups = np.log10(c), np.ones(len(c), bool), []
    while left.any():
        near = (np.abs(logs[:, None] - logs[None, :]) <= _BAND) & left[None, :]
        counts = np.where(left, near.sum(1), 0)
        inside = near[int(counts.argmax())]
        if len(np.unique(n[inside])) < _LEAST_SIZES:
            break
        groups.append((float(10 ** np.median(logs[inside])), n[inside], loss[inside]))
        left &= ~inside
    return sorted(groups, key=lambda group: group[0]) or _from_curves(n, c, loss)


def _from_curves(n: Floats, c: Floats, loss: Floats) -> list[tuple[float, Floats, Floats]]:
    sizes = [size for size in np.unique(n) if (n == size).sum() >= 2]
    if len(sizes) < _LEAST_SIZES:
        return []
    curves = []
    for size in sizes:
        mine = np.flatnonzero(n == size)
        mine = mine[np.argsort(c[mine])]
        curves.append((size, np.log(c[mine]), np.log(loss[mine])))
    low, high = sorted(x[0] for _, x, _ in curves), sorted(x[-1] for _, x, _ in curves)
    if high[-_LEAST_SIZES] <= low[_LEAST_SIZES - 1]:
        return []
    groups = []
    for at in np.linspace(low[_LEAST_SIZES - 1], high[-_LEAST_SIZES], 8):
        inside = [(size, float(np.exp(np.interp(at, x, y)))) for size, x, y in curves if x[0] <= at <= x[-1]]
        if len(inside) >= _LEAST_SIZES:
            sizes_there, losses_there = zip(*inside, strict=True)
            groups.append((float(math.exp(at)), np.array(sizes_there), np.array(losses_there)))
    return groups


def _parabola(flops: float, n: Floats, loss: Floats) -> Budget | None:
    x = np.log(n)
    middle = x.mean()
    curve, slope, level = np.polyfit(x - middle, loss, 2)
    if not curve > 0:
        return None
    lowest = middle - slope / (2 * curve)
    return Budget(
        flops,
        float(math.exp(lowest)),
        float(level - slope**2 / (4 * curve)),
        len(np.unique(n)),
        bool(x.min() < lowest < x.max()),
    )
