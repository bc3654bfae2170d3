"""A ladder's fit as a whole: approach 1 to 3 and Kaplan's for each source, bootstrap intervals, and a file.

Intervals are of a Bayesian bootstrap: rows, or whole runs where rows say which run they are of, get weights
drawn from a flat Dirichlet, and approach 3 is fitted anew; drawing rows with replacement covers a known truth
too often (98 % for 95 %), this in 94 %. `predict` adds the scatter of the residuals: a run is not a mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import InputError, UsageError
from gristmill.files.disk import read_file
from gristmill.files.inside import parsed
from gristmill.hashing import canonical_json
from gristmill.pipeline.proof.approaches import envelope, fit_kaplan, frontier, isoflop, power_law
from gristmill.pipeline.proof.laws import FLOPS_PER_TOKEN, NAMES, Floats, Law, fit_law, objective, refine
from gristmill.pipeline.proof.rows import Rows

LEVEL = 0.95
DRAWS = 500
_FILE_FORMAT = 1
BIASES = (
    "approach 2 is biased, even without noise, where the sizes do not sit around a budget's minimum and where"
    " alpha differs from beta (arXiv 2603.22339)",
    "exponents depend on which parameters N counts: all, without embeddings, or those multiplied with"
    " (Porian et al. 2024)",
    "intervals hold within the ladder's range and form; beyond it the form itself is the risk",
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """A loss with its interval, for one source; `beyond` names what lies outside the fitted rows."""

    source: str
    loss: float
    low: float
    high: float
    beyond: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceFit:
    """What the rows say of one source's loss."""

    law: Law
    objective: float
    rows: int
    intervals: Mapping[str, tuple[float, float]]
    draws: Floats  # (draws, 5): laws as vectors
    residuals: Floats  # log predicted less log observed
    spans: Mapping[str, tuple[float, float]]  # of N, D and C
    kaplan: Mapping[str, float]
    approach_1: Mapping[str, float] | None
    approach_2: Mapping[str, Any]
    compute: Mapping[str, float] | None  # L = scale C^exponent along the frontier

    def predict(self, source: str, n: float, d: float, level: float = LEVEL) -> Prediction:
        scatter = np.random.default_rng(0).choice(-self.residuals, len(self.draws))
        scale = math.sqrt(self.rows / max(1, self.rows - len(NAMES)))  # five constants were fitted to them
        drawn = np.array([float(Law.of_vector(row).loss(n, d)) for row in self.draws])
        low, high = _between(drawn * np.exp(scatter * scale), level)
        return Prediction(source, float(self.law.loss(n, d)), low, high, self.beyond(n, d))

    def beyond(self, n: float, d: float) -> tuple[str, ...]:
        """Name what of a size and its tokens lies outside the rows that the law was fitted to."""
        return tuple(
            f"{name} {value:.3g} lies {'below' if value < span[0] else 'above'} the fitted"
            f" {span[0]:.3g} to {span[1]:.3g}"
            for name, value in (("N", n), ("D", d), ("C", FLOPS_PER_TOKEN * n * d))
            if not (span := self.spans[name])[0] / 1.001 <= value <= span[1] * 1.001
        )


@dataclass(frozen=True, slots=True)
class Fits:
    """What rows say of every source's loss; of some nothing, and why."""

    fits: Mapping[str, SourceFit]
    without: Mapping[str, str]  # source: what its rows lack


def fit_rows(rows: Rows, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> Fits:
    """Fit every source's losses. Raises InputError where none of them has a fit."""
    fits, without = dict[str, SourceFit](), dict[str, str]()
    first: InputError | None = None
    for name, loss in rows.losses.items():
        try:
            fits[name] = _fit(rows, loss, draws, seed, level)
        except InputError as error:
            without[name] = error.message
            first = first or error
    if first and not fits:
        raise first
    return Fits(fits, without)


def _fit(rows: Rows, loss: Floats, draws: int, seed: int, level: float) -> SourceFit:
    there = np.isfinite(loss)
    rows, loss = rows.only(there), loss[there]
    found = fit_law(rows.n, rows.d, loss)
    vectors = bootstrap(rows, loss, found.law, draws, seed)
    laws = [Law.of_vector(row) for row in vectors]
    columns = {name: np.array([getattr(law, name) for law in laws]) for name in NAMES}
    columns["a"] = np.array([law.exponents[0] for law in laws])
    one = envelope(rows.n, rows.d, loss)
    budgets, two = isoflop(rows.n, rows.d, loss)
    best = frontier(rows.c, loss)
    compute = power_law(rows.c[best], loss[best])
    return SourceFit(
        found.law,
        found.objective,
        len(loss),
        {name: _between(column, level) for name, column in columns.items()},
        vectors,
        found.residuals,
        {
            name: (float(column.min()), float(column.max()))
            for name, column in (("N", rows.n), ("D", rows.d), ("C", FLOPS_PER_TOKEN * rows.n * rows.d))
        },
        asdict(fit_kaplan(rows.n, rows.d, loss)),
        {"a": one[0].exponent, "b": one[1].exponent} if one else None,
        {"a": two.exponent if two else None, "budgets": [asdict(budget) for budget in budgets]},
        asdict(compute) if compute else None,
    )


def bootstrap(rows: Rows, loss: Floats, law: Law, draws: int, seed: int = 0) -> Floats:
    """Return `draws` laws as vectors, each fitted to runs under weights of their own (Rubin 1981)."""
    if not draws:
        return law.vector[None]
    names = list(dict.fromkeys(rows.runs))
    belongs = np.array([names.index(run) for run in rows.runs])
    shares = np.random.default_rng(seed).dirichlet(np.ones(len(names)), draws)
    weights = shares[:, belongs] * len(names)
    x, y, z = np.log(rows.n), np.log(rows.d), np.log(loss)
    count = len(weights)
    return refine(np.repeat(law.vector[None], count, 0), x, y, np.repeat(z[None], count, 0), weights)


def as_json(found: Fits) -> dict[str, Any]:
    """What a fit's file holds, and `fit --json` prints."""
    sources = {
        name: {
            **asdict(fit.law),
            "a": fit.law.exponents[0],
            "objective": fit.objective,
            "rows": fit.rows,
            "intervals": {key: list(span) for key, span in fit.intervals.items()},
            "spans": {key: list(span) for key, span in fit.spans.items()},
            "kaplan": dict(fit.kaplan),
            "approach_1": fit.approach_1,
            "approach_2": dict(fit.approach_2),
            "compute": fit.compute,
            "residuals": [float(value) for value in fit.residuals],
            "draws": [[float(value) for value in row] for row in fit.draws],
        }
        for name, fit in found.fits.items()
    }
    form = "L = E + A / N^alpha + B / D^beta"
    facts = {"format": _FILE_FORMAT, "form": form, "sources": sources, "biases": list(BIASES)}
    return facts | ({"without_fit": dict(found.without)} if found.without else {})


def encode(found: Fits) -> bytes:
    return canonical_json(as_json(found)) + b"\n"


def read_fit(path: Path) -> Fits:
    """Open what `scaling fit --out` wrote."""
    try:
        data = parsed(read_file(path))
        if data["format"] != _FILE_FORMAT:
            raise UsageError(f"`{path}` has format {data['format']}, this version reads {_FILE_FORMAT}")
        fits = {name: _read(part) for name, part in data["sources"].items()}
        return Fits(fits, data.get("without_fit", {}))
    except FileNotFoundError:
        raise UsageError(
            f"there is no fit at `{path}`", hint="make one: `gristmill scaling fit ladder.csv --out fit.json`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"this is no fit of `gristmill scaling fit`: {error!r}", where=str(path)) from None


def _read(part: Mapping[str, Any]) -> SourceFit:
    return SourceFit(
        Law(**{name: part[name] for name in NAMES}),
        part["objective"],
        part["rows"],
        {key: (low, high) for key, (low, high) in part["intervals"].items()},
        np.array(part["draws"]),
        np.array(part["residuals"]),
        {key: (low, high) for key, (low, high) in part["spans"].items()},
        part["kaplan"], part["approach_1"], part["approach_2"], part["compute"],
    )  # fmt: skip


def against(law: Law, rows: Rows, source: str) -> float:
    """The Huber objective of another law on the same rows."""
    return objective(law, rows.n, rows.d, rows.losses[source])


def _between(values: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
