"""Preflight: mill a deterministic sample in earnest and scale what it took to the whole input.

Each source is cut into small ranges and some of them, chosen by hash, go through every step, in a few tasks
that hold many ranges each, and a few that hold none: those tell what a task costs that has nothing to do.
What the others took above that grows with the input; the engine's start, imports and compiled kernels do not.
The model is trained for a few steps. The tasks of the whole run, as many and as large as will run, are then
given to the CPUs one by one, phase after phase; steps that are done are left out. The spread between tasks
gives the interval (bootstrap, 90 %). Duplicates are rarer in a sample than in the whole, so keep rates of
deduplication are upper bounds, and said to be.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import GristmillError
from gristmill.files.location import RemotePath
from gristmill.manifest import Manifest, TaskRecord
from gristmill.pipeline.estimate.phases import (
    Interval,
    PhaseCost,
    cost_of_phase,
    resamples,
    sum_interval,
    total,
)
from gristmill.pipeline.estimate.prompts import prompts_told
from gristmill.pipeline.estimate.sample import Sampled, choose_samples
from gristmill.pipeline.estimate.schedule import makespan, phase_time
from gristmill.pipeline.estimate.training import TrainingCost, measure_training
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.runner import RunResult, run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.tokenize.settings import MixSettings

_NO_CAP = 1e12  # epochs: a sample of a small source may hold too little for its proportion


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """What one step is expected to take on the whole input: on one CPU, on those of this run; nothing where
    `done`."""

    step: str
    kept_fraction: Interval | None
    cpu_seconds: Interval
    wall_seconds: Interval
    peak_bytes: int
    disk_bytes: Interval
    done: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """`seconds` is the whole run's on the CPUs that it was asked for; `phases` are those still to run, and
    `besides` what a run takes that no task does: the engine's start, plans, manifests."""

    steps: list[StepEstimate]
    sampled: list[Sampled]
    seconds: Interval
    phases: list[PhaseCost]
    besides: float
    notes: list[str]
    training: TrainingCost | None = None


def estimate(
    recipe: Recipe,
    scratch: Path,
    engine: EngineSettings,
    num_cpus: int,
    progress: Progress,
    done: Collection[str] = (),
) -> Prediction:
    """Run the sample in `scratch` and predict every step, nothing for those that are `done`."""
    samples, sampled = choose_samples(recipe)
    share = sum(part.sample_bytes for part in sampled.values()) / max(
        1, sum(part.total_bytes for part in sampled.values())
    )
    notes: list[str] = []
    result = _run_sample(_of_sample(recipe, share), samples, scratch, engine, progress, notes)
    fitted = {name: _phases(name, manifest, sampled) for name, manifest in result.manifests.items()}
    steps = [
        _step(name, manifest, fitted[name], sampled, num_cpus, done)
        for name, manifest in result.manifests.items()
    ]
    notes += [
        said
        for name in fitted
        if (said := prompts_told(name, result.manifests[name], _factor(_parts(name, sampled))))
    ]
    work = sum(_makespan(manifest, num_cpus) for manifest in result.manifests.values())
    training = None
    if "train" not in done:
        with tempfile.TemporaryDirectory(prefix="gristmill-training-") as folder:
            training = measure_training(recipe, result.manifests, share, Path(folder), notes)
    if training:
        fitted["train"] = [training.phase]
        steps.append(_training_step(training, num_cpus))
    besides = max(0.0, result.seconds - work)
    phases = [phase for name, parts in fitted.items() if name not in done for phase in parts]
    seconds = total([step.wall_seconds for step in steps]).plus(besides if phases else 0.0)
    return Prediction(steps, list(sampled.values()), seconds, phases, besides, notes, training)


def _of_sample(recipe: Recipe, share: float) -> Recipe:
    """The recipe with a mixture that the sample can give: the budget in proportion, repeats not bounded."""
    mix = recipe.section(MixSettings)
    if mix is None:
        return recipe
    tokens = None if mix.tokens is None else max(1, round(mix.tokens * share))
    return recipe.model_copy(update={"mix": mix.model_copy(update={"tokens": tokens, "max_epochs": _NO_CAP})})


def _run_sample(
    recipe: Recipe,
    samples: Mapping[str, Any],
    scratch: Path,
    engine: EngineSettings,
    progress: Progress,
    notes: list[str],
) -> RunResult:
    """Run every step but training; not the mixture where the sample is too small for it, which is said."""
    try:
        return run_plan(build_plan(recipe, "mix", samples=samples), scratch, engine, progress)
    except GristmillError as error:
        if recipe.section(MixSettings) is None:
            raise
        notes.append(f"what mixing and training take is not known from this sample: {error.message}")
        return run_plan(build_plan(recipe, "encode", samples=samples), scratch, engine, progress)


def _phases(name: str, manifest: Manifest, sampled: Mapping[str, Sampled]) -> list[PhaseCost]:
    """Fit every phase of a step, in the order they ran."""
    parts = _parts(name, sampled)
    factor = _factor(parts)
    records = manifest.read_records()
    phases: dict[str, list[TaskRecord]] = {}
    for record in records:
        phases.setdefault(record.phase, []).append(record)
    idle = min((record.timing["seconds"] for record in records), default=0.0)
    has_work = [busy for part in parts for busy in part.has_work]
    sizes = [size for part in parts for size in part.shards]
    return [
        cost_of_phase(name, phase, own, has_work, idle, factor, sizes, _most(manifest, phase))
        for phase, own in phases.items()
    ]


def _parts(name: str, sampled: Mapping[str, Sampled]) -> list[Sampled]:
    source = name.partition("/")[2]
    return [sampled[source]] if source in sampled else list(sampled.values())


def _factor(parts: Sequence[Sampled]) -> float:
    """How many times the sample the whole is."""
    return sum(part.total_bytes for part in parts) / max(1, sum(part.sample_bytes for part in parts))


def _most(manifest: Manifest, phase: str) -> float:
    """How many times the sample's work a phase does at most: training on text stops at so much text."""
    settings, stage = manifest.ingredients["settings"], manifest.ingredients["stage"]
    if phase != "train":
        return math.inf
    if stage == "tokenizer":
        taken = sum(manifest.extra.get("sampled_bytes", {}).values())
        return settings["tokenizer"]["sample_bytes"] / taken if taken else 1.0
    if stage == "classify-train":
        had = _training_passages(manifest)
        return max(1.0, 2 * settings["classifier"]["examples"] / had) if had else math.inf
    return math.inf


def _training_passages(manifest: Manifest) -> int:
    """The passages of both classes that a classifier was trained on."""
    by_language = manifest.extra.get("report", {}).get("taught", {}).get("language", {})
    return sum(sum(part.get("passages", ())) for part in by_language.values())


def _step(
    name: str,
    manifest: Manifest,
    phases: Sequence[PhaseCost],
    sampled: Mapping[str, Sampled],
    num_cpus: int,
    done: Collection[str],
) -> StepEstimate:
    records = manifest.read_records()
    factor = _factor(_parts(name, sampled))
    disk = np.array([sum(entry.bytes for entry in record.files) for record in records], float)
    nothing = Interval(0.0, 0.0, 0.0)
    return StepEstimate(
        name,
        _kept(records),
        nothing if name in done else total([phase.cpu_seconds for phase in phases]),
        nothing if name in done else total([wall_of(phase, num_cpus) for phase in phases]),
        int(max((record.timing["peak_bytes"] for record in records), default=0)),
        nothing if name in done else sum_interval(disk).scaled(factor),
        name in done,
    )


def _training_step(training: TrainingCost, num_cpus: int) -> StepEstimate:
    wall = wall_of(training.phase, num_cpus)
    return StepEstimate("train", None, wall, wall, training.peak_bytes, Interval(*[training.disk_bytes] * 3))


def wall_of(phase: PhaseCost, num_cpus: int) -> Interval:
    """The wall seconds of a phase on so many CPUs, with the interval of what its tasks take."""
    wall = [
        phase_time(replace(phase, grows=Interval(value, value, value)), num_cpus).wall
        for value in (phase.grows.value, phase.grows.low, phase.grows.high)
    ]
    return Interval(wall[0], min(wall), max(wall))


def _makespan(manifest: Manifest, num_cpus: int) -> float:
    """What the tasks of the sample's step took, on the CPUs that it had."""
    phases: dict[str, list[float]] = {}
    for record in manifest.read_records():
        phases.setdefault(record.phase, []).append(record.timing["seconds"])
    return sum(makespan(times, num_cpus) for times in phases.values())


def _kept(records: Sequence[TaskRecord]) -> Interval | None:
    books = [record.books for record in records if record.books]
    kept = np.array([part.items_out["kept"] for part in books], float)
    entered = np.array(
        [part.items_out["kept"] + part.items_out["removed"] + part.items_out["failed"] for part in books],
        float,
    )
    if not books or not entered.sum():
        return None
    picks = resamples(len(books))
    rates = kept[picks].sum(axis=1) / np.maximum(1, entered[picks].sum(axis=1))
    return Interval(
        float(kept.sum() / entered.sum()), float(np.quantile(rates, 0.05)), float(np.quantile(rates, 0.95))
    )


def warnings(steps: Sequence[StepEstimate], out: Path, memory_bytes: int, num_cpus: int) -> list[str]:
    """Say what will not fit: disk in the output folder, memory of workers side by side."""
    said = []
    here = out.resolve()
    while not isinstance(here, RemotePath) and not here.exists():
        here = here.parent
    disk = sum(step.disk_bytes.high for step in steps)
    free = math.inf if isinstance(here, RemotePath) else shutil.disk_usage(here).free
    if disk > free:
        said.append(f"the outputs may take {disk / 1e9:.1f} GB, `{here}` has {free / 1e9:.1f} GB free")
    for step in steps:
        if not step.done and step.step != "train" and step.peak_bytes * num_cpus > memory_bytes:
            said.append(
                f"{num_cpus} workers of {step.step} may take {num_cpus * step.peak_bytes / 1e9:.1f} GB, "
                f"a machine has {memory_bytes / 1e9:.1f} GB: use fewer with `--workers`"
            )
    return said
