"""Scaling laws of loss by parameters N and tokens D: the forms, and the exact fit of Chinchilla's.

    law = fit_law(n, d, loss).law            # L = E + A / N^alpha + B / D^beta
    law.loss(1e9, 20e9), law.optimum(1e21)

Hoffmann et al. 2022, approach 3: the sum over runs of Huber (delta 1e-3) on log predicted less log observed
loss. For fixed exponents the form is linear in E, A and B, so a grid of exponents with a linear fit each
finds the basin (variable projection); Levenberg-Marquardt with Huber's weights and L-BFGS on the scaled
objective then go to its bottom. An objective of 1e-3 in size left unscaled stops L-BFGS early: that is how
the paper's printed constants came to be no optimum (Besiroglu et al. 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from gristmill.errors import InputError

Floats = npt.NDArray[np.float64]
DELTA = 1e-3  # of Huber, on log loss (Hoffmann et al. 2022, appendix D.2)
NAMES = ("E", "A", "B", "alpha", "beta")
FLOPS_PER_TOKEN = 6  # and parameter (Kaplan et al. 2020)
_GRID = np.linspace(0.05, 1.6, 48)
_SCALE = 1e4  # of the objective, for L-BFGS
_ROUNDS = 60
_MOST = 700.0  # of a constant's logarithm: what floats hold
LEAST_ROWS = 6  # five constants, and one row to be wrong by


@dataclass(frozen=True, slots=True)
class Law:
    """L = E + A / N^alpha + B / D^beta, in the unit of the losses it was fitted to."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, n: Any, d: Any) -> Any:
        return self.E + self.A / np.power(n, self.alpha) + self.B / np.power(d, self.beta)

    @property
    def exponents(self) -> tuple[float, float]:
        """N_opt ~ C^a, D_opt ~ C^b with a + b = 1."""
        total = self.alpha + self.beta
        return self.beta / total, self.alpha / total

    def optimum(self, flops: float) -> tuple[float, float]:
        """N and D of least loss for C = 6 N D (Hoffmann et al. 2022, equation 4)."""
        a, b = self.exponents
        g = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        product = flops / FLOPS_PER_TOKEN
        return g * product**a, product**b / g

    @property
    def vector(self) -> Floats:
        """(a, b, e, alpha, beta): logarithms of A, B, E, as the fit sees them."""
        return np.array([math.log(self.A), math.log(self.B), math.log(self.E), self.alpha, self.beta])

    @classmethod
    def of_vector(cls, theta: Floats) -> Law:
        a, b, e, alpha, beta = (float(value) for value in theta)
        return cls(math.exp(e), math.exp(a), math.exp(b), alpha, beta)


HOFFMANN = Law(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)  # as printed: no optimum of its own data
EPOCH = Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # Besiroglu et al. 2024


@dataclass(frozen=True, slots=True)
class LawFit:
    """A law, the Huber objective it came to, and log residuals (predicted less observed) by row."""

    law: Law
    objective: float
    residuals: Floats


def objective(law: Law, n: Floats, d: Floats, loss: Floats) -> float:
    """Return the sum of Huber over the rows; compare laws on the same rows by it."""
    residuals = np.log(law.loss(n, d)) - np.log(loss)
    return float(_huber(residuals).sum())


def fit_law(n: Floats, d: Floats, loss: Floats) -> LawFit:
    """Fit approach 3; raises InputError where the rows cannot tell five constants apart, or follow no law."""
    n, d, loss = (np.asarray(column, np.float64) for column in (n, d, loss))
    check_rows(n, d, loss)
    x, y, z = np.log(n), np.log(d), np.log(loss)
    start = _project(x, y, loss)
    theta = refine(start[None], x, y, z[None])[0]

    def scaled(vector: Floats) -> tuple[float, Floats]:
        predicted, shares = _forward(vector[None], x, y)
        off = predicted[0] - z
        slope = np.clip(off, -DELTA, DELTA)
        w = shares[0]
        gradient = [slope @ w[0], slope @ w[1], slope @ w[2], -slope @ (w[0] * x), -slope @ (w[1] * y)]
        return _SCALE * float(_huber(off).sum()), _SCALE * np.array(gradient)

    best = min(
        (minimize(scaled, begin, jac=True, method="L-BFGS-B", options=_PATIENT) for begin in (theta, start)),
        key=lambda found: float(found.fun),
    )
    if best.x[:3].max() > _MOST:
        raise InputError(
            f"the fit of {len(n)} rows has no end: a constant of the law grows above e^{_MOST:g}",
            hint="does the loss fall with N and with D in them? Give the larger sizes more tokens",
        )
    law = Law.of_vector(best.x)
    return LawFit(law, float(best.fun) / _SCALE, np.log(law.loss(n, d)) - z)


_PATIENT = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-14, "gtol": 1e-9, "maxcor": 30}


def check_rows(n: Floats, d: Floats, loss: Floats) -> None:
    """Raise InputError for rows that no law can be fitted to."""
    for name, column in (("N", n), ("D", d), ("loss", loss)):
        wrong = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
        if len(wrong):
            row = int(wrong[0])
            raise InputError(
                f"row {row + 1} has {name} {column[row]:g}, it must be above 0 and finite",
                hint="leave the row out",
            )
    sizes, tokens = len(np.unique(n)), len(np.unique(d))
    if len(n) < LEAST_ROWS or sizes < 3 or tokens < 3:
        raise InputError(
            f"five constants need at least {LEAST_ROWS} rows of 3 sizes and 3 numbers of tokens, got"
            f" {len(n)} rows of {sizes} and {tokens}",
            hint="run a longer ladder, or read intermediate losses of its runs as rows",
        )


def refine(theta: Floats, x: Floats, y: Floats, z: Floats, weights: Floats | None = None) -> Floats:
    """Bring many fits at once to their optimum: theta (B, 5), log losses z (B, n), weights of rows (B, n).

    Levenberg-Marquardt on Huber's weighted squares; a step that makes a fit worse is not taken.
    """
    weights = np.ones_like(z) if weights is None else weights
    theta, centre = _centred(theta.copy(), x, y)
    x, y = x - centre[0], y - centre[1]
    damping = np.full(len(theta), 1e-3)
    predicted, shares = _forward(theta, x, y)
    best = (weights * _huber(predicted - z)).sum(1)
    for _ in range(_ROUNDS):
        off = predicted - z
        robust = weights * np.minimum(1.0, DELTA / np.maximum(np.abs(off), 1e-12))
        w1, w2, w3 = shares[:, 0], shares[:, 1], shares[:, 2]
        jacobian = np.stack([w1, w2, w3, -w1 * x, -w2 * y], axis=1)
        weighted = jacobian * robust[:, None]
        normal = weighted @ jacobian.transpose(0, 2, 1)
        right = -(weighted @ off[:, :, None])[:, :, 0]
        diagonal = np.einsum("bii->bi", normal)
        normal = normal + damping[:, None, None] * np.eye(5) * (diagonal + 1e-12)[:, :, None]
        tried = theta + np.clip(np.linalg.solve(normal, right[:, :, None])[:, :, 0], -2, 2)
        tried[:, 3:] = np.clip(tried[:, 3:], 1e-3, 5)
        after, after_shares = _forward(tried, x, y)
        value = (weights * _huber(after - z)).sum(1)
        better = value <= best
        gained = np.where(better, best - value, 0.0)
        theta = np.where(better[:, None], tried, theta)
        predicted = np.where(better[:, None], after, predicted)
        shares = np.where(better[:, None, None], after_shares, shares)
        damping = np.clip(np.where(better, damping * 0.3, damping * 8), 1e-9, 1e6)
        best = np.where(better, value, best)
        if better.all() and (gained <= 1e-9 * (best + 1e-12)).all():
            break
    return _centred(theta, -centre[0], -centre[1])[0]


def _centred(theta: Floats, x: Any, y: Any) -> tuple[Floats, tuple[float, float]]:
    """Move the origin of log N and log D to their means: a and b hardly depend on the exponents there."""
    middle = float(np.mean(x)), float(np.mean(y))
    theta = theta.copy()
    theta[:, 0] -= theta[:, 3] * middle[0]
    theta[:, 1] -= theta[:, 4] * middle[1]
    return theta, middle


def _forward(theta: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return log predicted loss (B, n), and the share of each of its three terms (B, 3, n)."""
    terms = np.stack(
        [
            theta[:, 0, None] - theta[:, 3, None] * x,
            theta[:, 1, None] - theta[:, 4, None] * y,
            np.broadcast_to(theta[:, 2, None], (len(theta), len(x))),
        ],
        axis=1,
    )
    top = terms.max(1, keepdims=True)
    exponentials = np.exp(terms - top)
    total = exponentials.sum(1, keepdims=True)
    return (top + np.log(total))[:, 0], exponentials / total


def _huber(residuals: Floats) -> Floats:
    size = np.abs(residuals)
    return np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA))


def _project(x: Floats, y: Floats, loss: Floats) -> Floats:
    """Return the best of a grid of exponents, each with the E, A and B of least relative squares."""
    low = float(x.mean()), float(y.mean())
    one = 1 / loss  # residuals are relative, as those of logarithms are
    sizes, tokens = np.exp(-np.outer(_GRID, x - low[0])) / loss, np.exp(-np.outer(_GRID, y - low[1])) / loss
    normal = np.empty((len(_GRID), len(_GRID), 3, 3))
    normal[..., 0, 0] = one @ one
    normal[..., 0, 1] = normal[..., 1, 0] = (sizes @ one)[:, None]
    normal[..., 0, 2] = normal[..., 2, 0] = tokens @ one
    normal[..., 1, 1] = (sizes**2).sum(1)[:, None]
    normal[..., 1, 2] = normal[..., 2, 1] = sizes @ tokens.T
    normal[..., 2, 2] = (tokens**2).sum(1)
    right = np.empty((len(_GRID), len(_GRID), 3))
    right[..., 0], right[..., 1], right[..., 2] = one.sum(), sizes.sum(1)[:, None], tokens.sum(1)
    found = np.linalg.solve(normal + 1e-10 * normal[..., :1, :1] * np.eye(3), right[..., None])[..., 0]
    misfit = len(x) - (right * found).sum(-1)
    misfit[(found <= 0).any(-1)] = np.inf
    i, j = np.unravel_index(int(misfit.argmin()), misfit.shape)
    if not np.isfinite(misfit[i, j]):  # no law of this form falls in N and in D: begin in the middle
        third = math.log(loss.mean() / 3)
        return np.array([third + 0.3 * low[0], third + 0.3 * low[1], third, 0.3, 0.3])
    (e, a, b), alpha, beta = found[i, j], _GRID[i], _GRID[j]
    return np.array([math.log(a) + alpha * low[0], math.log(b) + beta * low[1], math.log(e), alpha, beta])
