"""Start the trainer on the mixed shards, in a process of its own: it needs torch and the shards, nothing of
the pipeline."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gristmill.errors import StepFailed
from gristmill.files.disk import read_file
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.stages.train import TrainFacts, TrainSlice
from gristmill.trainer.logs.told import last_step, spell_step

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
RUN = "train/run"
TIMINGS = ("training_seconds", "tokens_per_s")
_PROMPT, _TEMPERATURE = "The", 0.7
_SAMPLED_PARAMETERS = 2e9  # a larger model is not read into one process for a sample


def train(job: Job[TrainSlice]) -> Stage:
    """Train one model; checkpoints and the log lie in `train/run` of the step's folder and survive a kill."""
    settings = {
        **job.settings.train,
        "seed": job.settings.train.get("seed", job.seed),
        "shards": str(job.input.folder / "shards" / "train"),
        "heldout": str(job.input.folder / "shards" / "heldout"),
    }
    (record,) = yield Phase(
        "train", [Task("run", run_trainer, {"settings": settings})], num_cpus=0, saves=True, told=told
    )
    timing = {name: record.timing[name] for name in TIMINGS}
    return replace(record.stated(TrainFacts), timing=timing)


def told(folder: Path) -> str:
    """Say how far the training in a step's folder is."""
    row = last_step(folder / RUN / "log.jsonl")
    return spell_step(row) if row else ""


def run_trainer(task: Attempt[TrainSlice], settings: Mapping[str, Any]) -> None:
    """Run the trainer to its end and record its summary; a half-trained run is resumed from its last
    checkpoint."""
    with task.workspace(RUN) as run:
        run_process(task, {**settings, "run": str(run)}, run)
        summary = json.loads(read_file(run / "summary.json").decode())
        for name in TIMINGS:  # they differ from run to run, so they belong outside the record's digest
            task.record.timing[name] = summary.pop(name)
        checkpoint = Path(summary["checkpoint"]).absolute().relative_to(run.absolute())
        summary["checkpoint"] = f"{RUN}/{checkpoint.as_posix()}"
        samples = [sample(run)] if summary["parameters"] <= _SAMPLED_PARAMETERS else []
        task.record.state(TrainFacts(**summary, samples=samples))


def run_process(task: Attempt[Any], settings: Mapping[str, Any], run: Path) -> None:
    """Start the trainer with settings and wait for its end; raises StepFailed with its last lines."""
    config = task.scratch / "settings.json"
    config.write_text(json.dumps(dict(settings)))
    environment = {**os.environ, "OMP_NUM_THREADS": str(settings.get("threads") or os.cpu_count() or 1)}
    environment.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # threads that spin for a busy CPU make training seven times slower
    with (run / "output.txt").open("ab") as output:
        command = [sys.executable, "-m", "gristmill.trainer.train", "--config", str(config)]
        # In a process group of its own: a terminal sends Ctrl-C to all of ours, and the trainer is told once.
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,
            preexec_fn=_die_with_parent,  # one call of libc, no lock
        )
        try:
            code = process.wait()
        except BaseException:
            _stop(process, run)
            raise
    if code:
        tail = (run / "output.txt").read_text(errors="replace").strip().splitlines()[-8:]
        raise StepFailed(
            f"the trainer ended with exit code {code}:\n" + "\n".join(tail), where=str(run / "output.txt")
        )


def sample(run: Path) -> dict[str, Any]:
    """Let the trained model continue a word, for people to read."""
    from gristmill.trainer.evaluation.generate import Sampling, complete

    (text,) = complete(
        run, [_PROMPT], Sampling(max_tokens=120, temperature=_TEMPERATURE, top_p=0.9, seed=1), device="cpu"
    )
    return {"prompt": _PROMPT, "text": text, "temperature": _TEMPERATURE}


def _stop(process: subprocess.Popen[bytes], run: Path) -> None:
    """Let the trainer finish its step, save and leave, however long that takes; another signal kills it.

    Nothing may be raised here: it would stand in for the interruption, and the engine would try again instead
    of stopping.
    """
    process.terminate()
    at = _last_step(run)
    so_far = f" (step {at:,} was logged last)" if at is not None else ""
    with signals.patience(f"the trainer to finish its step and save a checkpoint{so_far}", process.kill):
        process.wait()


def _last_step(run: Path) -> int | None:
    try:
        lines = (run / "log.jsonl").read_text("utf-8", "replace").strip().splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _die_with_parent() -> None:
    """End the trainer with whoever started it, so that a resumed run never meets it at work."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
