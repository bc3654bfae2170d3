"""Start the trainer on the mixed shards, in a process of its own: it needs torch and the shards, nothing of
the pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gristmill.errors import StepFailed
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task

RUN = "train/run"
TIMINGS = ("training_seconds", "tokens_per_s")
_PROMPT, _TEMPERATURE = "The", 0.7
_SAMPLED_PARAMETERS = 2e9  # a larger model is not read into one process for a sample


def train(job: Job) -> Stage:
    """Train one model; checkpoints and the log lie in `train/run` of the step's folder and survive a kill."""
    settings = {
        **job.settings.train,
        "seed": job.settings.train.get("seed", job.seed),
        "shards": str(job.input.folder / "shards" / "train"),
        "heldout": str(job.input.folder / "shards" / "heldout"),
    }
    (record,) = yield Phase("train", [Task("run", run_trainer, {"settings": settings})], num_cpus=0)
    return {**record.extra, "timing": {name: record.timing[name] for name in TIMINGS}}


def run_trainer(task: Attempt, settings: Mapping[str, Any]) -> None:
    """Run the trainer to its end and record its summary; a half-trained run is resumed from its last
    checkpoint."""
    with task.workspace(RUN) as run:
        _run(task, {**settings, "run": str(run)}, run)
        summary = json.loads((run / "summary.json").read_text())
        for name in TIMINGS:  # they differ from run to run, so they belong outside the record's digest
            task.record.timing[name] = summary.pop(name)
        checkpoint = Path(summary["checkpoint"]).absolute().relative_to(run.absolute())
        task.record.extra = summary | {"checkpoint": f"{RUN}/{checkpoint.as_posix()}"}
        if task.record.extra["parameters"] <= _SAMPLED_PARAMETERS:
            task.record.extra["samples"] = [sample(run)]


def _run(task: Attempt, settings: Mapping[str, Any], run: Path) -> None:
    config = task.scratch / "settings.json"
    config.write_text(json.dumps(dict(settings)))
    environment = {**os.environ, "OMP_NUM_THREADS": str(settings.get("threads") or os.cpu_count() or 1)}
    environment.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # threads that spin for a busy CPU make training seven times slower
    with (run / "output.txt").open("ab") as output:
        command = [sys.executable, "-m", "gristmill.trainer.train", "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
    if code:
        tail = (run / "output.txt").read_text(errors="replace").strip().splitlines()[-8:]
        raise StepFailed(
            f"the trainer ended with exit code {code}:\n" + "\n".join(tail), where=str(run / "output.txt")
        )


def sample(run: Path) -> dict[str, Any]:
    """Let the trained model continue a word, for people to read."""
    from gristmill.trainer.generate import Sampling, complete

    (text,) = complete(
        run, [_PROMPT], Sampling(max_tokens=120, temperature=_TEMPERATURE, top_p=0.9, seed=1), device="cpu"
    )
    return {"prompt": _PROMPT, "text": text, "temperature": _TEMPERATURE}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let the trainer save and leave; a slow one is killed, for the engine's own deadline is ten seconds.

    Nothing may be raised here: it would stand in for the interruption, and the engine would try again instead
    of stopping.
    """
    process.terminate()
    try:
        process.wait(timeout=8)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
