"""Trials: where a model is scored, and how often a comparison opens its engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gristmill.pipeline.cli import app, register
from gristmill.pipeline.proof import scoring
from gristmill.pipeline.proof.texts import Amount, Targets
from gristmill.pipeline.proof.trials import Takes, Trials
from gristmill.pipeline.proof.trials import scoring as scoring_task
from gristmill.pipeline.run import engines
from tests.support import planted

NO_TARGETS = Targets({}, {}, Amount())


@pytest.mark.parametrize(("settings", "device", "gpus"), [({"device": "cpu"}, "cpu", 0), ({}, "auto", 1)])
def test_a_model_is_scored_on_the_device_that_trained_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], device: str, gpus: int
) -> None:
    asked = []

    def load(run: Path, device: str) -> None:
        asked.append((run, device))
        raise FileNotFoundError(run)

    monkeypatch.setattr(scoring, "load_model", load)
    trials: Any = SimpleNamespace(out=tmp_path)
    task = scoring_task(trials, "ab", settings, "", NO_TARGETS)
    with pytest.raises(FileNotFoundError):
        task.function(SimpleNamespace(), **task.arguments)
    assert asked == [(tmp_path / "trials" / "runs" / "ab", device)]
    assert Takes.of(settings).num_gpus == gpus


@pytest.mark.parametrize(
    "said",
    [
        ["ablate", "--no-train", "--seeds", "2", "--placebo"],
        ["mixture-search", "--no-train", "--runs", "4", "--tokens", "12k"],
        ["scaling", "ladder", "--widths", "32,64", "--tokens", "2k", "--multiples", "1"],
    ],
    ids=lambda said: said[0],
)
def test_all_plans_and_trials_of_a_comparison_share_their_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    if not app.registered_commands:
        register()
    recipe = planted.write_planted(tmp_path)
    data = yaml.safe_load(recipe.read_text())
    data["sources"]["noise"] = {"inputs": ["bad.jsonl"], "filter": False}
    data["mix"] = {"proportions": {"text": 0.5, "noise": 0.5}, "heldout_fraction": 0.05}
    recipe.write_text(yaml.safe_dump(data))
    opens: list[str] = []
    ran: list[str] = []
    open_engine: Callable[..., Any] = engines.open_engine
    run = Trials.run

    def counted(settings: Any, *, num_tasks: int, **facts: Any) -> Any:
        opens.append("many" if num_tasks > 1 else "one")
        return open_engine(settings, num_tasks=num_tasks, **facts)

    def told(self: Trials, phase: str, *arguments: Any, **settings: Any) -> Any:
        ran.append(phase)
        return run(self, phase, *arguments, **settings)

    monkeypatch.setattr(engines, "open_engine", counted)
    monkeypatch.setattr(Trials, "run", told)
    arguments = ["--target", f"prose={tmp_path / 'target.jsonl'}", "--documents", "20", "--engine", "inline"]
    verb = said[: said.index(next(one for one in said if one.startswith("--")))]
    done = CliRunner().invoke(
        app, [*verb, str(recipe), *said[len(verb) :], *arguments, "--out", str(tmp_path / "out"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert len(ran) >= 2 and "many" in opens and len(opens) == len(set(opens))
