"""What a run that trains tells while it does: its line, TensorBoard, a profile."""

from __future__ import annotations

import io
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import UsageError
from gristmill.pipeline.look.live import read_status
from gristmill.pipeline.look.reading import StepView
from gristmill.pipeline.phases.train import told
from gristmill.pipeline.report.sections.training import _step
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.trainer.logs.profiling import window
from gristmill.trainer.logs.told import last_step, spell_seconds, spell_step
from gristmill.trainer.train import run

Corpus = Callable[..., Path]


def settings(shards: Path, run: Path, **more: Any) -> dict[str, Any]:
    model = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
    return {
        "shards": str(shards), "run": str(run), "model": model, "device": "cpu", "dtype": "fp32",
        "batch": 4, "steps": 6, "threads": 1, "log_every": 1,
    } | more  # fmt: skip


ROW = {"event": "step", "step": 120, "steps": 2000, "loss": 4.21, "tokens_per_s": 12_345.6, "mfu": 0.412,
       "seconds_to_go": 7500.0}  # fmt: skip


def test_a_step_is_told_with_loss_speed_and_time_to_go() -> None:
    assert spell_step(ROW) == ("step 120/2,000, loss 4.2100, 12,346 tokens/s, mfu 41.2%, 2 h 05 min to go")
    assert [spell_seconds(s) for s in (40, 720, 200_000)] == ["40 s", "12 min", "2 d 7 h"]


def test_the_newest_whole_row_of_a_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert last_step(log) is None
    rows = [json.dumps(ROW | {"step": step}) for step in (1, 2)]
    log.write_text("\n".join([*rows, json.dumps({"event": "eval", "step": 2}), '{"event": "step", "st']))
    assert (last_step(log) or {})["step"] == 2


def test_a_step_that_trains_is_told_by_the_run_and_by_status(tmp_path: Path) -> None:
    folder = tmp_path / "steps" / "train-0"
    (folder / "train" / "run").mkdir(parents=True)
    (folder / "train" / "run" / "log.jsonl").write_text(json.dumps(ROW) + "\n")
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    progress = Progress(stream=stream)
    progress.phase("train train", done=0, total=1, told=lambda: told(folder))
    progress.spoke -= 60
    progress._tick()
    progress.end()
    assert "step 120/2,000, loss 4.2100" in stream.getvalue()
    (tmp_path / "run.json").write_text(
        json.dumps({"recipe_name": "one", "steps": [], "plan": ["train"], "complete": False})
    )
    (row,) = read_status(tmp_path)["steps"]
    assert row["training"]["step"] == 120 and row["eta_seconds"] == 7500.0


def test_the_report_draws_a_training_that_runs_and_says_how_long_it_will(tmp_path: Path) -> None:
    log = tmp_path / "train" / "run" / "log.jsonl"
    log.parent.mkdir(parents=True)
    made = [ROW | {"step": step, "tokens": step * 1000, "lr": 1e-3, "grad_norm": 1.0} for step in (1, 120)]
    log.write_text("".join(json.dumps(row) + "\n" for row in made) + '{"event": "st')
    told = {state: str(_step(StepView("train", state, tmp_path), {})) for state in ("running", "stopped")}
    assert "120 steps, 120 k tokens, loss 4.210, running, about 2 h 05 min to go." in told["running"]
    assert "Training loss" in told["running"] and "<svg" in told["running"]
    assert "loss 4.210, stopped." in told["stopped"]


def test_a_log_goes_to_tensorboard_where_asked(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            assert folder == str(tmp_path / "run" / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            drawn.append((name, value, step))

        def flush(self) -> None: ...

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    heldout = str(corpus("held", (9,), split="heldout"))
    run(settings(corpus(), tmp_path / "run", tensorboard=True, heldout=heldout))
    assert [step for name, _, step in drawn if name == "train/loss"] == [1, 2, 3, 4, 5, 6]
    assert [step for name, _, step in drawn if name == "heldout/all/bits_per_byte"] == [0, 6]


def test_what_is_not_installed_is_named(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, how in (("torch.utils.tensorboard", {"tensorboard": True}), ("wandb", {"wandb": "a"})):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match="is not installed"):
            run(settings(corpus(), tmp_path / "run", **how))  # type: ignore[arg-type]


def test_a_window_of_steps_is_traced(corpus: Corpus, tmp_path: Path) -> None:
    run(settings(corpus(), tmp_path / "run", profile="3:5"))
    (trace,) = (tmp_path / "run" / "profile").iterdir()
    assert trace.name == "steps-3-4-rank-0.json"
    assert any("addmm" in event["name"] for event in json.loads(trace.read_text())["traceEvents"])
    for text in ("5", "5:3", "a:b", "0:2"):
        with pytest.raises(UsageError, match="two steps such as"):
            window(text)
