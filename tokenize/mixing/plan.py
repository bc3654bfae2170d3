"""From proportions to epochs: what a mixture takes of each source, known before any token is moved.

plan = make_plan(MixSettings(proportions={"web": 0.8, "wiki": 0.2}, tokens=1000), {"web": Size(10, 900, 3600),
...}) print(plan.table())
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gristmill.errors import RecipeError
from gristmill.tokenize.settings import MixSettings, normalised


@dataclass(frozen=True, slots=True)
class Size:
    """What a source holds for training, one time each."""

    docs: int
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source of a mixture: its share, and the tokens to write."""

    source: str
    proportion: float
    tokens: int
    size: Size

    @property
    def epochs(self) -> float:
        return self.tokens / self.size.tokens


@dataclass(frozen=True, slots=True)
class MixPlan:
    rows: tuple[SourcePlan, ...]

    @property
    def tokens(self) -> int:
        return sum(row.tokens for row in self.rows)

    def table(self) -> list[dict[str, str | float | int]]:
        """LLaMA's table 1: source, sampling proportion, epochs, tokens, bytes of text on disk."""
        return [
            {
                "source": row.source,
                "proportion": row.proportion,
                "epochs": round(row.epochs, 4),
                "tokens": row.tokens,
                "bytes": row.size.bytes,
            }
            for row in self.rows
        ]


def make_plan(settings: MixSettings, sizes: Mapping[str, Size]) -> MixPlan:
    """Resolve proportions and budget against what the sources hold.

    Raises RecipeError for an unknown or empty source, and for a budget that a cap on epochs forbids, with the
    largest allowed.
    """
    _check_sources(settings, sizes)
    shares = proportions(settings, sizes)
    budget = settings.tokens if settings.tokens is not None else default_budget(settings, sizes, shares)
    limit, tightest = largest_budget(settings, sizes, shares)
    if settings.method == "unimax":
        return MixPlan(
            tuple(
                SourcePlan(name, share, whole(share * budget), sizes[name]) for name, share in shares.items()
            )
        )
    if budget > limit:
        raise RecipeError(
            f"a budget of {budget:,} tokens needs {shares[tightest] * budget / sizes[tightest].tokens:.2f}"
            f" epochs of `{tightest}`, at most {_cap(settings, tightest):g} are allowed",
            hint=f"the largest budget with these proportions is {limit:,} tokens; or raise `mix.max_epochs`",
        )
    return MixPlan(
        tuple(SourcePlan(name, share, whole(share * budget), sizes[name]) for name, share in shares.items())
    )


def proportions(settings: MixSettings, sizes: Mapping[str, Size]) -> dict[str, float]:
    """The share of tokens of each source, summing to 1."""
    names = list(settings.proportions) or list(sizes)
    if settings.method == "unimax":
        return _unimax(settings, {name: sizes[name].tokens for name in names})
    if settings.method == "given" and settings.proportions:
        raw = dict(settings.proportions)
    elif settings.method == "temperature":
        most = max(sizes[name].tokens for name in names)  # a power of more than 1 is no float
        raw = {name: (sizes[name].tokens / most) ** (1 / settings.temperature) for name in names}
    else:  # no proportions given: by size
        raw = {name: float(sizes[name].tokens) for name in names}
    return normalised(raw)


def _unimax(settings: MixSettings, tokens: Mapping[str, int]) -> dict[str, float]:
    """UniMax (Chung et al. 2023, algorithm 1): as even as the caps on epochs allow, smallest source first."""
    budget = float(settings.tokens if settings.tokens is not None else sum(tokens.values()))
    left, given = budget, {}
    ascending = sorted(tokens, key=lambda name: (tokens[name], name))
    for number, name in enumerate(ascending):
        given[name] = min(left / (len(ascending) - number), tokens[name] * _cap(settings, name))
        left -= given[name]
    if left > budget * 1e-9:
        raise RecipeError(
            f"a budget of {budget:,.0f} tokens is more than all sources hold within their caps on epochs",
            hint=f"the largest budget is {budget - left:,.0f} tokens; or raise `mix.max_epochs`",
        )
    return {name: given[name] / budget for name in tokens}


def largest_budget(
    settings: MixSettings, sizes: Mapping[str, Size], shares: Mapping[str, float]
) -> tuple[int, str]:
    """The most tokens no cap forbids, and the source whose cap is met first."""
    bounds = {
        name: _cap(settings, name) * sizes[name].tokens / share if share else math.inf
        for name, share in shares.items()
    }
    tightest = min(bounds, key=lambda name: bounds[name])
    return whole(bounds[tightest]), tightest


def default_budget(settings: MixSettings, sizes: Mapping[str, Size], shares: Mapping[str, float]) -> int:
    """All tokens when proportions follow sizes; else as many as no source repeats for."""
    if settings.method in ("natural", "unimax") or not settings.proportions:
        return sum(sizes[name].tokens for name in shares)
    return whole(min(sizes[name].tokens / share for name, share in shares.items() if share))


def whole(tokens: float) -> int:
    """Round down, but for what a product of floats may have lost: 1e-6 of a token, or its last bits."""
    return math.floor(tokens + max(1e-6, 4 * math.ulp(tokens)))


def _cap(settings: MixSettings, name: str) -> float:
    cap = settings.epochs_cap(name)
    return min(cap, settings.copies_of(name)) if name in settings.weights else cap


def _check_sources(settings: MixSettings, sizes: Mapping[str, Size]) -> None:
    for name in settings.proportions or sizes:
        if name not in sizes:
            raise RecipeError(f"`mix.proportions` names the source `{name}`, encoded are {', '.join(sizes)}")
        if not sizes[name].tokens:
            raise RecipeError(
                f"the source `{name}` has no tokens to mix: no document of it was kept",
                hint="see with `gristmill status` what removed them, or take it out of `mix.proportions`",
            )
