"""What training takes: a few steps on the sample's shards, on the device that will train, tell its speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.files.location import staged
from gristmill.manifest import Manifest
from gristmill.pipeline.estimate.phases import Interval, PhaseCost
from gristmill.pipeline.recipe.model import Recipe
from gristmill.tokenize.settings import MixSettings

_STEPS = 4
_STEP_TOKENS = 4096  # a larger batch is measured by a part of it
_SHORT = {  # what is changed of the settings to measure them
    "steps": _STEPS, "micro_batch": 0, "log_every": 1, "eval_every": 0, "save_every": 0, "ephemeral_every": 0,
    "tensorboard": False, "wandb": "", "profile": "", "resume": False,
}  # fmt: skip
_DEADLINE_SECONDS = 240.0
_FORWARD = 1 / 3  # of the work on a token in training: a backward pass is two forward ones
_WEIGHT_BYTES = 12  # of a checkpoint, per parameter: fp32 weights and two moments
_CHECKPOINTS = 2
_NOISE = 0.15  # of speed between a few steps and many


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """Training as one task; `tokens` are those of its steps, without evaluation."""

    phase: PhaseCost
    steps: int
    tokens: int
    tokens_per_s: float
    device: str
    peak_bytes: int
    disk_bytes: float


def measure_training(
    recipe: Recipe, manifests: Mapping[str, Manifest], share: float, scratch: Path, notes: list[str]
) -> TrainingCost | None:
    """Train a few steps on the sample's shards; None, and a note, where that cannot be done here."""
    settings = getattr(recipe, "train", None)
    if settings is None or "mix" not in manifests:
        return None
    from gristmill.trainer.config import Settings

    whole = Settings.from_dict(dict(settings))
    context = whole.model.context
    batch = min(whole.batch, max(1, _STEP_TOKENS // context))
    shards = staged({"train": str(manifests["mix"].folder / "shards" / "train")}, scratch / "inputs")
    places = {"shards": shards["train"], "run": str(scratch), "heldout": ""}
    measured = {**settings, **_SHORT, "batch": batch, **places}
    began = time.perf_counter()
    problem = _train(measured, scratch)
    if problem:
        notes.append(f"what training takes is not known: {problem}")
        return None
    wall = time.perf_counter() - began
    log = [json.loads(line) for line in (scratch / "log.jsonl").read_text().splitlines()]
    summary = json.loads((scratch / "summary.json").read_text())
    speeds = [row["tokens_per_s"] for row in log if row.get("event") == "step" and row.get("tokens_per_s")]
    speed = max(speeds[1:] or speeds or [summary["tokens_per_s"]])  # the first step also sets everything up
    tokens = _tokens_of_mixture(recipe, manifests["mix"], share)
    steps = whole.steps or max(1, tokens // (context * whole.batch))
    trained = steps * context * whole.batch
    evaluated = _evaluated_tokens(recipe, manifests["mix"], whole, steps, share)
    work = (trained + _FORWARD * evaluated) / speed
    start = max(0.0, wall - _STEPS * batch * context / speed)
    parameters = int(summary["parameters"])
    phase = PhaseCost(
        "train", "train", start, Interval(work, work * (1 - _NOISE), work * (1 + _NOISE)), most=1.0
    )
    peak = max((row.get("memory_bytes") or 0 for row in log if row.get("event") == "step"), default=0)
    disk = _CHECKPOINTS * _WEIGHT_BYTES * parameters
    return TrainingCost(phase, steps, trained, speed, summary.get("device", whole.device), peak, disk)


def _train(settings: Mapping[str, Any], scratch: Path) -> str:
    """Run the trainer; return what went wrong, if something did."""
    scratch.mkdir(parents=True, exist_ok=True)
    config = scratch / "settings.json"
    config.write_text(json.dumps(dict(settings)))
    command = [sys.executable, "-m", "gristmill.trainer.train", "--config", str(config)]
    threads = str(settings.get("threads") or os.cpu_count() or 1)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_DEADLINE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{_STEPS} steps took more than {_DEADLINE_SECONDS:.0f} s on this machine"
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")


def _tokens_of_mixture(recipe: Recipe, mix: Manifest, share: float) -> int:
    settings = recipe.section(MixSettings)
    if settings and settings.tokens:
        return settings.tokens
    return int(mix.extra["tokens"] / max(share, 1e-9))


def _evaluated_tokens(recipe: Recipe, mix: Manifest, train: Any, steps: int, share: float) -> float:
    """Tokens that are evaluated, before and after training and in between."""
    held = [row["tokens"] / max(share, 1e-9) for row in mix.extra["heldout"]]
    each = sum(min(tokens, train.eval_tokens) if train.eval_tokens else tokens for tokens in held)
    times = 2 + (steps // train.eval_every if train.eval_every else 0)
    return float(times * each)
