"""Training as a step of a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.manifest import read_record
from gristmill.pipeline.run.job import attempt
from gristmill.pipeline.stages.train import RUN, TIMINGS

Corpus = Callable[..., Path]


def test_two_runs_of_the_step_leave_the_same_record_wherever_they_lie(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gristmill.pipeline.stages.train.sample",
        lambda run: {"prompt": "The", "text": "", "temperature": 0.7},
    )
    model = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
    settings: dict[str, Any] = {
        "shards": str(corpus()),
        "heldout": str(corpus("held", (9,), split="heldout")),
        "model": model,
    }
    records = []
    for folder in (tmp_path / "a", tmp_path / "elsewhere" / "b"):
        arguments = {
            "settings": settings | {"run": str(folder / RUN), "steps": 3, "threads": 1, "device": "cpu"}
        }
        records.append(
            read_record(
                Path(
                    attempt(folder, "train", "run", "gristmill.pipeline.stages.train:run_trainer", arguments)
                )
            )
        )
    assert records[0].body() == records[1].body()
    assert set(TIMINGS) < set(records[0].timing)
    assert records[0].extra["checkpoint"] == f"{RUN}/checkpoints/step-00000003"
    assert (
        json.loads((tmp_path / "a" / RUN / "summary.json").read_text())["evaluations"]
        == records[0].extra["evaluations"]
    )
