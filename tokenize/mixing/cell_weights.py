"""What a mixture takes of each cell, topic by quality bucket: from a budget to a weight for every document.

    weights = weigh_cells(settings.weights["web"], cells, tokens=1_000_000, source="web")

A cell's weight is how often its documents are taken: weights times tokens sum to what is wanted of a source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from gristmill.cells import Cells
from gristmill.errors import RecipeError
from gristmill.tokenize.mixing.upsampling import olmo_3
from gristmill.tokenize.settings import CellWeight

Weights = dict[str, dict[str, float]]  # by topic, then by bucket


def weigh_cells(weight: CellWeight, cells: Cells, tokens: int, source: str) -> Weights:
    """Return the weight of each cell of a source that gives `tokens`; `cells` are its documents and tokens.

    Raises RecipeError for a topic that it has not, and for tokens of a topic that its cap on copies forbids.
    """
    held = {topic: sum(counts[1] for counts in buckets.values()) for topic, buckets in cells.items()}
    shares = weight.topics or {topic: size / sum(held.values()) for topic, size in held.items() if size}
    for topic in shares:
        if not held.get(topic):
            raise RecipeError(
                f"`mix.weights.{source}.topics` names the topic {topic!r}, the documents are of"
                f" {', '.join(map(repr, held))}",
                hint="`gristmill classify cells OUT` prints them with their sizes",
            )
    total = math.fsum(shares.values())
    return {
        topic: _weights(weight, buckets, shares[topic] / total * tokens, topic, source)
        if topic in shares
        else dict.fromkeys(buckets, 0.0)
        for topic, buckets in cells.items()
    }


def _weights(
    weight: CellWeight, buckets: Mapping[str, list[int]], target: float, topic: str, source: str
) -> dict[str, float]:
    numbers = sorted(int(bucket) for bucket in buckets)
    tokens = [buckets[str(number)][1] for number in numbers]
    try:
        if weight.curve == "olmo-3":
            factors = olmo_3(tokens, target, weight.discard, weight.most)
        else:
            factors = _scaled(weight, numbers, tokens, target)
    except ValueError as error:
        (largest,) = error.args
        name = f"topic {topic!r} of `{source}`" if topic else f"`{source}`"
        raise RecipeError(
            f"{target:,.0f} tokens are asked of {name}, which holds {sum(tokens):,}: its curve gives"
            f" {largest:,} at most",
            hint=f"ask for less of it, or change `mix.weights.{source}`: `most`, `discard` or `curve`",
        ) from None
    return {str(number): factor for number, factor in zip(numbers, factors, strict=True)}


def _scaled(weight: CellWeight, numbers: list[int], tokens: list[int], target: float) -> list[float]:
    """A table of one's own, scaled to what is wanted."""
    raw = [weight.factor(number) for number in numbers]
    taken = math.fsum(factor * size for factor, size in zip(raw, tokens, strict=True))
    if not taken:
        raise ValueError(0)
    scale = target / taken
    if scale * max(raw) > weight.most * (1 + 1e-9):
        raise ValueError(int(taken * weight.most / max(raw)))
    return [factor * scale for factor in raw]
