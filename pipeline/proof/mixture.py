"""The runs of a mixture search: a swarm over source weights, its fit, and one run that confirms the best."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import UsageError
from gristmill.pipeline.proof.ablation import Asked, Outcome, measure
from gristmill.pipeline.proof.comparing import Floats
from gristmill.pipeline.proof.swarm import Best, best_mixture, draw_weights, fit_target
from gristmill.pipeline.proof.trials import one_engine
from gristmill.pipeline.proof.variants import REFERENCE, Variant
from gristmill.pipeline.proof.verdict import Verdict, decide
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.run.engines import Engines
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.tokenize.settings import MixSettings

RUNS_PER_SOURCE = 5
CONFIRMED = "best"
MEASURE = "trained"


@dataclass(frozen=True, slots=True)
class Search:
    """What a search came to: weights and losses of its runs, fits' errors, the best, its confirmation."""

    sources: tuple[str, ...]
    weights: Floats
    losses: Mapping[str, Floats]
    errors: Mapping[str, float]
    best: Best
    confirmed: Mapping[str, float]  # bits per byte of the best by target
    start: Mapping[str, float]


def search(
    recipe: Recipe,
    asked: Asked,
    runs: int | None,
    spread: float,
    out: Path,
    engine: EngineSettings | Engines,
    progress: Progress,
) -> Search:
    """Run the swarm, fit it, and train the best mixture. Raises UsageError for fewer than two sources or no
    tokens to match."""
    with one_engine(engine, out.absolute(), progress) as engines:
        measured = functools.partial(measure, out=out, engine=engines, progress=progress)
        return _search(recipe, asked, runs, spread, measured)


def _search(
    recipe: Recipe, asked: Asked, runs: int | None, spread: float, measure: Callable[..., Outcome]
) -> Search:
    mix = recipe.section(MixSettings)
    assert mix is not None
    sources = tuple(mix.proportions) or tuple(recipe.sources)
    if len(sources) < 2:
        raise UsageError(f"a mixture search needs two sources or more, the recipe mixes {', '.join(sources)}")
    measured = MEASURE if asked.train else "n-gram"
    natural = measure([Variant(REFERENCE, recipe, "as it is")], asked_once(asked))
    held = natural.prepared[0].mix.stated(MixFacts).sizes
    tokens = asked.tokens or natural.tokens
    caps = np.array([mix.epochs_cap(name) * held[name] / tokens for name in sources])
    given = [mix.proportions.get(name, float(held[name])) for name in sources]
    centre = np.array(given, np.float64) / sum(given)
    drawn = draw_weights(
        centre, runs or max(RUNS_PER_SOURCE * len(sources), len(sources) + 2), spread, recipe.seed
    )
    drawn = np.array([_within(row, caps) for row in drawn])
    variants = [_weighted(recipe, f"draw {n}", sources, row, tokens) for n, row in enumerate(drawn)]
    swarm = measure(variants, asked_once(replace(asked, tokens=tokens)))
    losses = _losses(decide(swarm), measured, variants)
    errors = {target: fit_target(drawn, column).error for target, column in losses.items()}
    best = best_mixture(drawn, losses, np.minimum(caps, 1.0), drawn[0], recipe.seed)
    last = [variants[0], _weighted(recipe, CONFIRMED, sources, best.weights, tokens)]
    found = _losses(decide(measure(last, replace(asked, tokens=tokens))), measured, last)
    return Search(
        sources, drawn, losses, errors, best,
        {target: float(column[1]) for target, column in found.items()},
        {target: float(column[0]) for target, column in found.items()},
    )  # fmt: skip


def asked_once(asked: Asked) -> Asked:
    """The same with one seed a run: a swarm's runs differ enough to be fitted."""
    return replace(asked, seeds=1, proxies=asked.proxies and not asked.train)


def as_json(found: Search) -> dict[str, Any]:
    return {
        "sources": list(found.sources),
        "runs": [
            {
                "weights": dict(zip(found.sources, row.tolist(), strict=True)),
                "bits_per_byte": {target: float(column[n]) for target, column in found.losses.items()},
            }
            for n, row in enumerate(found.weights)
        ],
        "leave_one_out_error": dict(found.errors),
        "best": dict(zip(found.sources, found.best.weights.tolist(), strict=True)),
        "predicted": found.best.predicted,
        "predicted_of_start": found.best.start,
        "predicted_gain": [found.best.low, found.best.high],
        "optimism": found.best.optimism,
        "confirmed": dict(found.confirmed),
        "start": dict(found.start),
    }  # fmt: skip


def proportions_of(found: Search) -> dict[str, float]:
    """The best weights to four digits, their sum exactly 1; sources without a share are left out."""
    shares = {
        name: round(float(weight), 4) for name, weight in zip(found.sources, found.best.weights, strict=True)
    }
    shares = {name: share for name, share in shares.items() if share >= 0.0005}
    largest = max(shares, key=lambda name: shares[name])
    shares[largest] = round(shares[largest] + 1 - sum(shares.values()), 4)
    return shares


def _within(weights: Floats, caps: Floats) -> Floats:
    """Move what is above a source's cap to the others, in proportion."""
    found = weights.copy()
    for _ in range(20):
        over = found > caps
        if not over.any():
            break
        spare = (found[over] - caps[over]).sum()
        found[over] = caps[over]
        room = ~over & (found < caps)
        if not room.any():
            raise UsageError(
                f"the caps on epochs leave {caps.sum():.2f} of the tokens: no mixture fits",
                hint="train on fewer tokens (`--tokens`), or raise mix.max_epochs",
            )
        found[room] += spare * found[room] / found[room].sum()
    return found


def _weighted(recipe: Recipe, name: str, sources: Sequence[str], weights: Floats, tokens: int) -> Variant:
    mix = recipe.section(MixSettings)
    assert mix is not None
    shares = {source: float(weight) for source, weight in zip(sources, weights, strict=True) if weight > 1e-6}
    own = mix.model_copy(
        update={"proportions": shares, "normalise": True, "method": "given", "tokens": int(0.999 * tokens)}
    )
    told = ", ".join(f"{source} {share:.3f}" for source, share in shares.items())
    return Variant(name, recipe.model_copy(update={"mix": own}), told)


def _losses(verdict: Verdict, measured: str, variants: Sequence[Variant]) -> dict[str, Floats]:
    table = verdict.tables.get(measured)
    if table is None or not table.cells:
        raise UsageError("there is no target to search for", hint="name one with `--target NAME=PATH`")
    return {
        target: np.array([cells[variant.name].bits_per_byte for variant in variants])
        for target, cells in table.cells.items()
    }
