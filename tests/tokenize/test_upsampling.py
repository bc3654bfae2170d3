"""Upsampling curves: what simple_mixing.py defines, whatever the buckets; a table of steps; cells of a
mixture."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.integrate import quad

from gristmill.errors import RecipeError
from gristmill.tokenize.mixing.cell_weights import weigh_cells
from gristmill.tokenize.mixing.upsampling import POWERS, olmo_3
from gristmill.tokenize.settings import CellWeight, MixSettings


def defined(tokens: list[int], target: float, discard: float, most: float) -> list[float] | None:
    """The definition, by numeric integration and a scan: None where no curve fits."""
    total = sum(tokens)
    edges = [sum(tokens[:place]) / total for place in range(len(tokens) + 1)]
    first = next(place for place, edge in enumerate(edges) if edge > discard) - 1
    places = [edge - edges[first] for edge in edges[first:]]

    def means(power: float, rate: float) -> list[float]:
        def curve(x: float) -> float:
            return x**power * math.exp(rate * x)

        whole = quad(curve, 0, places[-1], limit=200)[0]
        pairs = itertools.pairwise(places)
        return [quad(curve, a, b, limit=200)[0] / whole * target / total / (b - a) for a, b in pairs]

    best = None
    for power in POWERS.tolist():
        if means(power, 0.0)[-1] <= most + 1e-6:
            low, high = 0.0, 2.0
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (middle, high) if means(power, middle)[-1] <= most else (low, middle)
            best = [0.0] * first + means(power, low)
    return best


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(20, 200), min_size=2, max_size=8),
    st.sampled_from([0.1, 0.7, 1.0, 2.0, 3.0]),
    st.sampled_from([0.0, 0.4]),
)
def test_a_curve_is_that_of_its_definition(tokens: list[int], ratio: float, discard: float) -> None:
    expected = defined(tokens, ratio * sum(tokens), discard, 7.0)
    if expected is None:
        with pytest.raises(ValueError, match=r"\d+"):
            olmo_3(tokens, ratio * sum(tokens), discard, 7.0)
    else:
        assert olmo_3(tokens, ratio * sum(tokens), discard, 7.0) == pytest.approx(
            expected, rel=1e-3, abs=1e-4
        )


def test_vigintiles_lose_the_lowest_forty_percent_and_repeat_the_best_seven_times_at_most() -> None:
    """The 6T mix's example: 2.5 times on average."""
    factors = olmo_3([1000] * 20, 50_000, discard=0.4, most=7.0)
    assert factors[:8] == [0.0] * 8 and min(factors[8:]) > 0
    assert factors == sorted(factors) and 5 < factors[-1] <= 7 + 1e-6
    assert sum(factors) * 1000 == pytest.approx(50_000)


def test_empty_buckets_are_taken_never() -> None:
    factors = olmo_3([0, 100, 0, 100, 0], 150, discard=0.4, most=7.0)
    assert factors[0] == factors[2] == factors[4] == 0.0
    assert factors[1] * 100 + factors[3] * 100 == pytest.approx(150)


def test_more_than_a_curve_can_give_is_refused_with_the_most() -> None:
    with pytest.raises(ValueError, match=r"\d+") as caught:
        olmo_3([100] * 20, 10_000, discard=0.4, most=7.0)
    (largest,) = caught.value.args
    assert 8_200 < largest <= 8_400
    assert sum(olmo_3([100] * 20, largest, 0.4, 7.0)) * 100 == pytest.approx(largest)


CELLS = {"sea": {str(n): [1, 100] for n in range(10)}, "law": {str(n): [1, 300] for n in range(10)}}


def taken(weights: dict[str, dict[str, float]], topic: str) -> float:
    return sum(weight * CELLS[topic][bucket][1] for bucket, weight in weights[topic].items())


def test_topics_get_the_shares_asked_for_and_their_own_curves() -> None:
    weight = CellWeight(curve="olmo-3", topics={"sea": 3, "law": 1})
    weights = weigh_cells(weight, CELLS, 4000, "web")
    assert taken(weights, "sea") == pytest.approx(3000) and taken(weights, "law") == pytest.approx(1000)
    assert weights["sea"]["9"] > weights["law"]["9"] > 0 == weights["law"]["3"]
    alone = weigh_cells(CellWeight(curve="olmo-3", topics={"law": 1}), CELLS, 1000, "web")
    assert set(alone["sea"].values()) == {0.0} and taken(alone, "law") == pytest.approx(1000)


def test_steps_are_scaled_to_what_is_asked() -> None:
    weight = CellWeight(curve={5: 1, 9: 3}, topics={"sea": 1, "law": 1})
    weights = weigh_cells(weight, CELLS, 1600, "web")
    assert [weights["sea"][str(n)] for n in range(10)] == pytest.approx([0] * 5 + [8 / 7] * 4 + [24 / 7])
    assert taken(weights, "law") == pytest.approx(800)


def test_a_topic_asked_for_more_than_its_cap_is_named_with_the_most() -> None:
    weight = CellWeight(curve="olmo-3", topics={"sea": 9, "law": 1})
    with pytest.raises(
        RecipeError, match=r"9,000 tokens are asked of topic 'sea' of `web`, which holds 1,000"
    ):
        weigh_cells(weight, CELLS, 10_000, "web")
    with pytest.raises(RecipeError, match="names the topic 'golf', the documents are of 'sea', 'law'"):
        weigh_cells(CellWeight(curve="olmo-3", topics={"golf": 1}), CELLS, 100, "web")


def test_settings_of_a_curve_that_takes_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="a curve needs a bucket that is taken"):
        CellWeight(curve={3: 0})
    with pytest.raises(ValidationError, match="has a curve, and shards of kind `sources`"):
        MixSettings.model_validate({"weights": {"web": {"curve": "olmo-3"}}, "kind": "sources"})
    assert np.isclose(CellWeight(curve={4: 2}).factor(3), 0) and CellWeight(curve={4: 2}).factor(4) == 2
