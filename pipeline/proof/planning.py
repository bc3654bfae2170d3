"""What a budget buys by a law: the best size and tokens, also where tokens run out or the model is served.

Compute-optimal: least loss for C = 6 N D. Inference-optimal (Sardana et al. 2024): least total of training
and serving, 6 N D + 2 N S for S served tokens, at the loss that the budget would reach. Repeated data
(Muennighoff et al. 2023): D tokens in more than one epoch over U unique ones are worth U (1 + R* (1 -
exp(-R / R*))) with R = D / U - 1 and R* = 15.39; parameters beyond what U calls for decay alike, R* = 5.31.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.optimize import minimize_scalar

from gristmill.errors import UsageError
from gristmill.pipeline.proof.laws import FLOPS_PER_TOKEN, Law

TOKEN_DECAY = 15.387756  # R*_D (Muennighoff et al. 2023, section 6)
SIZE_DECAY = 5.309743  # R*_N
SERVING_FLOPS = 2  # per parameter and served token
TOKENS_PER_PARAMETER = 20
# Hoffmann et al. 2022, table 3: parameters, FLOPs and tokens of approach 1.
CHINCHILLA_TABLE = (
    (400e6, 1.92e19, 8.0e9),
    (1e9, 1.21e20, 20.2e9),
    (10e9, 1.23e22, 205.1e9),
    (67e9, 5.76e23, 1.5e12),
    (175e9, 3.85e24, 3.7e12),
    (280e9, 9.90e24, 5.9e12),
    (520e9, 3.43e25, 11.0e12),
    (1e12, 1.27e26, 21.2e12),
    (10e12, 1.30e28, 216.2e12),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """A model size and a number of tokens, the FLOPs of training them, and the loss a law foretells."""

    n: float
    d: float
    flops: float
    loss: float
    epochs: float = 1.0

    @property
    def tokens_per_parameter(self) -> float:
        return self.d / self.n


def compute_optimal(law: Law, flops: float) -> Choice:
    """The size and tokens of least loss for a budget, all tokens new."""
    check_positive("--flops", flops)
    n, d = law.optimum(flops)
    return Choice(n, d, flops, float(law.loss(n, d)))


def effective(unit: float, total: float, decay: float) -> float:
    """What `total` of something is worth of which `unit` are distinct."""
    if total <= unit:
        return total
    return float(unit * (1 - decay * math.expm1(-(total / unit - 1) / decay)))


def repeated_loss(law: Law, n: float, d: float, unique: float) -> float:
    """The loss of N parameters on D tokens, of which `unique` are distinct."""
    if d <= unique:
        return float(law.loss(n, d))
    a, _ = law.exponents
    g = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    # The size for which the unique tokens are compute-optimal: D_opt = (C/6)^b / G, N_opt = G (C/6)^a.
    called_for = g * (unique * g) ** (a / (1 - a))
    return float(law.loss(effective(called_for, n, SIZE_DECAY), effective(unique, d, TOKEN_DECAY)))


def with_unique_tokens(law: Law, flops: float, unique: float) -> Choice:
    """The size and tokens of least loss for a budget over a corpus of so many tokens, epochs priced."""
    check_positive("--unique", unique)
    n, d, _ = _least(law, flops, lambda n, d: repeated_loss(law, n, d, unique))
    return Choice(n, d, flops, repeated_loss(law, n, d, unique), max(1.0, d / unique))


def inference_optimal(law: Law, loss: float, served: float) -> Choice:
    """The cheapest size and tokens that reach a loss when so many tokens are served afterwards.

    Raises UsageError for a loss below what any size reaches.
    """
    if loss <= law.E:
        raise UsageError(f"a loss of {loss:g} is below the law's irreducible {law.E:.4f}")
    smallest = (law.A / (loss - law.E)) ** (1 / law.alpha)

    def tokens(n: float) -> float:
        return float((law.B / (loss - law.E - law.A / n**law.alpha)) ** (1 / law.beta))

    def cost(log_n: float) -> float:
        n = math.exp(log_n)
        return math.log(n) + math.log(FLOPS_PER_TOKEN * tokens(n) + SERVING_FLOPS * served)

    low = math.log(smallest)
    found = minimize_scalar(cost, bounds=(low + 1e-6, low + 14), method="bounded", options={"xatol": 1e-9})
    n = math.exp(float(found.x))
    return Choice(n, tokens(n), FLOPS_PER_TOKEN * n * tokens(n), loss)


def served_for(law: Law, n: float, d: float) -> float:
    """The served tokens for which N and D are the cheapest way to their loss; negative: more than any calls
    for."""
    pull_n = law.alpha * law.A / n ** (law.alpha + 1)
    pull_d = law.beta * law.B / d ** (law.beta + 1)
    return float((FLOPS_PER_TOKEN * n * pull_n / pull_d - FLOPS_PER_TOKEN * d) / SERVING_FLOPS)


def equal_compute(law: Law, loss: float) -> float:
    """The FLOPs at which new tokens alone would reach a loss: what repeating costs is the rest."""
    if loss <= law.E:
        return math.inf
    low, high = 0.0, 100.0  # of ln C
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if law.loss(*law.optimum(math.exp(middle))) > loss else (low, middle)
    return math.exp(high)


def check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"`{name}` must be above 0, got {value:g}")


def _least(law: Law, flops: float, loss: Callable[[float, float], float]) -> tuple[float, float, float]:
    check_positive("--flops", flops)
    product = flops / FLOPS_PER_TOKEN
    middle = math.log(law.optimum(flops)[0])
    found = minimize_scalar(
        lambda log_n: loss(math.exp(log_n), product / math.exp(log_n)),
        bounds=(middle - 8, middle + 8), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    n = math.exp(float(found.x))
    return n, product / n, float(found.fun)
