"""Two seeds of one recipe are within noise: of 40 repetitions by n-grams, of 20 by tiny models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gristmill.pipeline.proof.ablation import Asked, Outcome, measure
from gristmill.pipeline.proof.texts import Amount
from gristmill.pipeline.proof.variants import read_variants
from gristmill.pipeline.proof.verdict import decide
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings
from tests.support import planted

SEEDS = 3


def _verdicts(outcome: Outcome, measured: str, repetitions: int) -> Iterator[str]:
    """What is told of the placebo in each repetition, which has seeds of its own."""
    for number in range(repetitions):
        part = slice(number * SEEDS, (number + 1) * SEEDS)
        judged = {measured: {name: rows[part] for name, rows in outcome.judged[measured].items()}}
        (cells,) = decide(replace(outcome, judged=judged)).tables[measured].cells.values()
        difference = cells["placebo"].difference
        assert difference is not None
        yield difference.told


@pytest.mark.slow
@pytest.mark.parametrize(("measured", "repetitions", "least"), [("n-gram", 40, 38), ("trained", 20, 19)])
def test_two_seeds_of_one_recipe_are_within_noise(
    tmp_path: Path, measured: str, repetitions: int, least: int
) -> None:
    recipe = planted.write_planted(tmp_path, mix={"heldout_fraction": 0.0})
    asked = Asked(
        targets={"prose": [str(tmp_path / "target.jsonl")]},
        seeds=SEEDS * repetitions,
        tokens=20_000,
        proxies=measured != "trained",
        train=measured == "trained",
        amount=Amount(40, 800),
    )
    variants = read_variants(recipe, placebo=True)
    engine = EngineSettings(kind="inline", retries=0)
    outcome = measure(variants, asked, tmp_path / "out", engine, Progress(quiet=True))
    told = [*_verdicts(outcome, measured, repetitions)]
    assert told.count("within noise") >= least, told
