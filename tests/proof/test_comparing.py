"""The statistics of a verdict, on scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from gristmill.pipeline.proof.comparing import (
    Noise,
    Scores,
    agreement,
    difference,
    interval_of_mean,
    seed_noise,
)


def scores(rng: np.random.Generator, shift: float = 0.0, seeds: int = 3, noise: float = 0.01) -> Scores:
    """Documents of differing difficulty, the same for all; models that differ by seed and by `shift`."""
    sizes = np.full(80, 1000.0)
    documents = np.random.default_rng(7).normal(2.5, 0.4, 80)
    own = np.random.default_rng(11).normal(0, 0.02, 80)
    rates = documents + shift + own * (shift != 0) + rng.normal(0, noise, seeds)[:, None]
    return Scores(rates * sizes, sizes)


def test_a_planted_difference_is_told_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    table = {"recipe": scores(rng), "worse": scores(rng, 0.08), "better": scores(rng, -0.08)}
    noise = seed_noise(table)
    assert noise.freedom == 4 and 0.004 < noise.deviation < 0.02
    found = {name: difference(table[name], table["recipe"], noise) for name in ("worse", "better")}
    assert {name: one.told for name, one in found.items()} == {"worse": "worse", "better": "better"}
    assert found["worse"].low < 0.08 < found["worse"].high


def test_two_of_one_recipe_are_within_noise_in_nineteen_of_twenty() -> None:
    told = []
    for draw in range(100):
        rng = np.random.default_rng(draw)
        table = {"one": scores(rng), "other": scores(rng)}
        told.append(difference(table["other"], table["one"], seed_noise(table)).told)
    assert told.count("within noise") >= 95


def test_many_variants_of_one_recipe_are_told_apart_in_one_call_of_twenty() -> None:
    false = 0
    for draw in range(20):
        rng = np.random.default_rng(1000 + draw)
        table = {str(number): scores(rng) for number in range(6)}
        noise = seed_noise(table)
        told = [difference(table[name], table["0"], noise, comparisons=5).told for name in list(table)[1:]]
        false += any(one != "within noise" for one in told)
    assert false <= 2


def test_variants_of_the_same_models_do_not_lessen_the_noise() -> None:
    rng = np.random.default_rng(3)
    table = {"one": scores(rng), "other": scores(rng)}
    noise = seed_noise(table)
    assert seed_noise({**table, "again": table["one"], "once more": table["one"]}) == noise
    alone = seed_noise({"one": table["one"], "again": table["one"]})
    assert alone.deviation == pytest.approx(table["one"].per_seed.std(ddof=1)) and alone.freedom == 2


@pytest.mark.parametrize("comparisons", [1, 20, 500])
def test_an_interval_reaches_as_far_as_its_comparisons_ask(comparisons: int) -> None:
    sizes, level = np.full(50, 1000.0), 0.98
    same = Scores(np.full((3, 50), 2500.0), sizes)
    noise = Noise(0.01, 8, 0.01)
    found = difference(same, same, noise, comparisons=comparisons, level=level)
    wanted = student.ppf(1 - (1 - level) / comparisons / 2, 8) * 0.01 * np.sqrt(2 / 3)
    assert (found.low, found.high) == pytest.approx((-wanted, wanted), rel=1e-6)
    rng = np.random.default_rng(5)  # and where documents are all the doubt
    other = Scores(same.bits + rng.normal(0, 100, 50), sizes)
    found = difference(other, same, Noise(1e-9, 8, 1e-9), comparisons=comparisons, level=level)
    sd = (other.bits - same.bits)[0].std() / 1000 / np.sqrt(50)
    wanted = norm.ppf(1 - (1 - level) / comparisons / 2) * sd
    assert 0.85 * 2 * wanted < found.high - found.low < 1.15 * 2 * wanted


def test_a_variants_own_interval_holds_what_a_seed_does_to_all_variants() -> None:
    rng, held = np.random.default_rng(9), 0
    for _ in range(100):
        shared = rng.normal(0, 0.05, 3)[:, None]  # far more than what it does to each
        bits = 2500 + 1000 * (shared + rng.normal(0, 0.002, (4, 3, 1)))
        table = {str(at): Scores(np.repeat(one, 60, 1), np.full(60, 1000.0)) for at, one in enumerate(bits)}
        low, high = interval_of_mean(table["0"], seed_noise(table))
        held += low <= 2.5 <= high
    assert held >= 75  # the seeds are the same three for all: less than the 95 of independent ones


def test_one_seed_has_no_noise_to_compare_with() -> None:
    rng = np.random.default_rng(0)
    table = {"one": scores(rng, seeds=1), "other": scores(rng, 0.5, seeds=1)}
    noise = seed_noise(table)
    assert noise == Noise(0.0, 0) and not noise.known
    assert difference(table["other"], table["one"], noise).told == "unknown"


def test_agreement_counts_pairs_in_the_same_order() -> None:
    trained = np.array([1.0, 2.0, 3.0, 4.0])
    same, turned = agreement(trained * 2, trained), agreement(-trained, trained)
    assert same is not None and turned is not None
    assert (same.accuracy, same.rho, same.pairs) == (1.0, pytest.approx(1.0), 6)
    assert (turned.accuracy, turned.rho) == (0.0, pytest.approx(-1.0))
    assert agreement(trained[:2], trained[:2]) is None
