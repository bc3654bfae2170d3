"""Training as a step of a recipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import Interrupted
from gristmill.manifest import read_record
from gristmill.pipeline.phases.train import RUN, TIMINGS
from gristmill.pipeline.run.attempt import attempt
from gristmill.pipeline.run.signals import stopped_by_signals

Corpus = Callable[..., Path]


@pytest.mark.slow
def test_two_runs_of_the_step_leave_the_same_record_wherever_they_lie(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gristmill.pipeline.phases.train.sample",
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
                    attempt(
                        folder, "train", "run", "gristmill.pipeline.phases.train:run_trainer", arguments
                    ).path
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


SLOW_TRAINER = """
import signal, sys, time
from pathlib import Path
import json
run = Path(json.loads(Path(sys.argv[-1]).read_text())["run"])
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
(run / "started").touch()
while not asked:
    time.sleep(0.05)
time.sleep(SECONDS)
(run / "checkpoint").touch()
sys.exit(143)
"""


@pytest.mark.parametrize(
    ("again", "seconds"), [(True, 30), (False, 1), pytest.param(False, 10, marks=pytest.mark.slow)]
)
def test_an_interrupted_training_is_waited_for_however_long_its_step_takes_unless_asked_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    again: bool,
    seconds: int,
) -> None:
    """A run used to be given eight seconds for its step."""
    trainer = tmp_path / "slow.py"
    trainer.write_text(SLOW_TRAINER.replace("SECONDS", str(seconds)))
    folder = tmp_path / "step"
    popen = subprocess.Popen

    def stand_in(command: list[str], **options: Any) -> Any:
        return popen([sys.executable, str(trainer), *command[-2:]], **options)

    monkeypatch.setattr("gristmill.pipeline.phases.train.subprocess.Popen", stand_in)

    def interrupt() -> None:
        while not (folder / RUN / "started").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        if again:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted), stopped_by_signals():
        attempt(folder, "train", "run", "gristmill.pipeline.phases.train:run_trainer", {"settings": {}})
    thread.join()
    assert (folder / RUN / "checkpoint").exists() is not again
    assert "waiting for the trainer to finish its step and save a checkpoint" in capfd.readouterr().err
