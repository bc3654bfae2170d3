"""A swarm over source weights finds a planted optimum, within caps, and writes it back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from gristmill.errors import UsageError
from gristmill.pipeline.cli import app, register
from gristmill.pipeline.proof.ladder import _row, counts, repeating, rungs, shape
from gristmill.pipeline.proof.mixture_told import written_back
from gristmill.pipeline.proof.scoring import Judged
from gristmill.pipeline.proof.swarm import best_mixture, draw_weights, fit_target
from tests.support import planted

CENTRE = np.array([0.5, 0.3, 0.2])


def losses(weights: np.ndarray, noise: float = 0.001) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = {"prose": [-0.1, 0.05, 0.3], "code": [0.02, -0.2, 0.3]}
    return {
        name: np.exp(0.8 + weights @ np.array(slopes) + rng.normal(0, noise, len(weights)))
        for name, slopes in truth.items()
    }


def test_the_best_mixture_takes_what_helps_and_leaves_what_hurts_within_its_caps() -> None:
    weights = draw_weights(CENTRE, 20, 4.0, 0)
    assert weights.sum(1) == pytest.approx(1.0) and (weights[0] == CENTRE).all()
    found = best_mixture(weights, losses(weights), np.array([1.0, 0.55, 1.0]), CENTRE)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.weights[1] == pytest.approx(0.55, abs=1e-3) and found.weights[2] < 0.02
    assert 0 < found.low < found.start - found.predicted < found.high
    assert fit_target(weights, losses(weights)["prose"]).error < 0.005


def test_sources_that_make_no_difference_promise_no_gain() -> None:
    """The best of a fit to noise is better than the start by that fit; of 12 searches 3 said so for sure."""
    centre, sure = np.full(6, 1 / 6), 0
    for seed in range(12):
        weights, rng = draw_weights(centre, 30, 4.0, seed), np.random.default_rng(seed)
        noise = {str(at): np.exp(1 + rng.normal(0, 0.01, len(weights))) for at in range(3)}
        found = best_mixture(weights, noise, np.ones(6), centre, seed)
        assert found.optimism > 0.004 and found.predicted < found.start
        sure += found.low > 0
    assert sure <= 1


def test_too_few_runs_and_caps_that_leave_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 5 runs, got 4"):
        draw_weights(CENTRE, 4, 4.0, 0)
    weights = draw_weights(CENTRE, 10, 4.0, 0)
    with pytest.raises(UsageError, match=r"leave 0\.90 of the tokens"):
        best_mixture(weights, losses(weights), np.full(3, 0.3), CENTRE)


def test_a_search_by_ngrams_prefers_prose_to_shuffled_words_and_writes_it_back(tmp_path: Path) -> None:
    if not app.registered_commands:
        register()
    recipe = planted.write_planted(tmp_path)
    data = yaml.safe_load(recipe.read_text())
    data["sources"]["noise"] = {"inputs": ["bad.jsonl"], "filter": False}
    data.pop("mix")
    recipe.write_text(
        yaml.safe_dump(data)
        + "mix:\n  proportions: {text: 0.5, noise: 0.5} # by hand\n  heldout_fraction: 0.05\n"
    )
    arguments = [
        "--target",
        f"prose={tmp_path / 'target.jsonl'}",
        "--no-train",
        "--runs",
        "12",
        "--tokens",
        "30k",
    ]
    arguments += ["--documents", "30", "--document-bytes", "600", "--engine", "inline", "--write", "--json"]
    done = CliRunner().invoke(
        app, ["mixture-search", str(recipe), *arguments, "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["best"]["text"] > 0.6
    # What so few tokens confirm is within the noise of which documents they are.
    assert found["confirmed"]["prose"] == pytest.approx(found["start"]["prose"], abs=0.1)
    assert "# by hand" in recipe.read_text()
    assert yaml.safe_load(recipe.read_text())["mix"]["proportions"]["text"] > 0.6


def test_a_recipe_without_one_line_of_proportions_is_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("mix:\n  proportions:\n    web: 1\n")
    with pytest.raises(UsageError, match="has 0 lines"):
        written_back(path, {"web": 1.0})


def test_rungs_follow_one_rule_and_share_a_unit_of_steps() -> None:
    base = {"model": {"context": 64}, "optimizer": {"name": "muon", "lr": 0.01}, "batch": 4}
    small, large = rungs(base, 512, [64, 192], 100_000, [1, 2, 4])
    assert large.parameters > small.parameters > small.no_embedding
    assert large.settings["model"]["num_layers"] == 3 and large.settings["model"]["num_heads"] == 6
    assert large.settings["optimizer"]["lr"] < small.settings["optimizer"]["lr"] == 0.01
    assert large.settings["batch"] > small.settings["batch"] == 4
    assert (
        small.settings["steps"] == 4 * small.unit_steps and small.settings["save_every"] == small.unit_steps
    )
    assert small.unit_steps * small.step_tokens == pytest.approx(80_000, rel=0.01)
    whole, without, matrices = counts(shape(64, 64, 512))
    assert whole - without == 512 * 64 and matrices == whole
    once, twice = (
        _row(small, 4, Judged(), unique) for unique in (200_000, small.unit_steps * small.step_tokens)
    )
    assert once["epochs"] == pytest.approx(2 * once["D"] / 400_000, abs=1e-4)
    assert twice["epochs"] == pytest.approx(5, rel=0.01)
    assert repeating([{"epochs": 1.0}], 9) is None
    assert "5.00 times through the mixture's 1,000 tokens" in str(repeating([once, {"epochs": 5}], 1000))
    with pytest.raises(UsageError, match="multiple of 32"):
        shape(50, 64)
    with pytest.raises(UsageError, match="must rise"):
        rungs(base, 512, [64], 100_000, [2, 1])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["--widths", "32,64,96", "--hold-back"], "needs 4 widths and 3 multiples, got 3 and 3"),
        (["--widths", "32,64,96,128", "--multiples", "1,2", "--hold-back"], "got 4 and 2"),
        (["--tokens", "none"], "must be a number"),
    ],
)
def test_a_ladder_that_cannot_be_fitted_is_refused_before_it_begins(
    tmp_path: Path, said: list[str], told: str
) -> None:
    if not app.registered_commands:
        register()
    recipe = planted.write_planted(tmp_path)
    done = CliRunner().invoke(app, ["scaling", "ladder", str(recipe), *said, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, UsageError) and told in str(done.exception)
    assert not (tmp_path / "out").exists()
