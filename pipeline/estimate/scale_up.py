"""Preflight: mill a deterministic sample in earnest and scale what it took to the whole input.

Each source is cut into small ranges and some of them, chosen by hash, go through every step but training, in
a few tasks that hold many ranges each, and a few that hold none: those tell what a task costs that has
nothing to do. What the others took above that grows with the input; the engine's start, imports and compiled
kernels do not. The tasks of the whole run, as large as its shards will be, are then given to the CPUs one by
one. The spread between tasks gives the interval (bootstrap, 90 %). Duplicates are rarer in a sample than in
the whole, so keep rates of deduplication are upper bounds, and said to be.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristmill.hashing import digest16
from gristmill.location import RemotePath
from gristmill.manifest import Manifest, TaskRecord
from gristmill.pipeline.estimate.schedule import makespan
from gristmill.pipeline.recipe.making import PreflightSample
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.progress import Progress
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.sources.plan import plan_shards

SAMPLE_FRACTION = 0.01
MIN_SAMPLE_BYTES = (
    16 << 20
)  # stored; some eight hundred pages, whose keep rates are known to about three points
_RANGES = 400  # a source is cut into about this many ranges to sample from
_MIN_RANGE_BYTES = 256 << 10
_TASKS = 16  # that the ranges of a sample are spread over; a spread needs several
_EMPTY_TASKS = 4
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A prediction with the bounds of its 90 % interval."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, other: float) -> Interval:
        return Interval(self.value + other, self.low + other, self.high + other)


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """What one step is expected to take on the whole input: on one CPU, on those of this run, and what the
    sample took on them."""

    step: str
    kept_fraction: Interval | None
    cpu_seconds: Interval
    wall_seconds: Interval
    sample_seconds: float
    peak_bytes: int
    disk_bytes: Interval


@dataclass(frozen=True, slots=True)
class Sampled:
    """How much of a source the sample holds, in how many tasks, and the sizes of the shards of the whole."""

    source: str
    sample_bytes: int
    num_tasks: int
    shards: tuple[int, ...]

    @property
    def total_bytes(self) -> int:
        return sum(self.shards)


@dataclass(frozen=True, slots=True)
class Prediction:
    """`seconds` is the whole run's; `shard_seconds` are those of the sample's extraction tasks."""

    steps: list[StepEstimate]
    sampled: list[Sampled]
    seconds: Interval
    shard_seconds: list[float]


def choose_sample(recipe: Recipe, name: str) -> tuple[PreflightSample, Sampled]:
    """Choose a source's ranges to mill and spread them over tasks of one format each; the first tasks hold
    none."""
    settings = recipe.sources[name].reading()
    whole = plan_shards(settings, recipe.shard_bytes)
    total = sum(shard.num_bytes for shard in whole)
    range_bytes = max(_MIN_RANGE_BYTES, total // _RANGES)
    shards = plan_shards(settings, range_bytes)
    wanted = max(SAMPLE_FRACTION * total, min(total, MIN_SAMPLE_BYTES))
    chosen: list[int] = []
    sample_bytes = 0
    for number in sorted(
        range(len(shards)), key=lambda number: digest16(str(recipe.seed), "estimate", name, str(number))
    ):
        if sample_bytes >= wanted:
            break
        chosen.append(number)
        sample_bytes += shards[number].num_bytes
    by_format: dict[str, list[int]] = {}
    for number in sorted(chosen):
        by_format.setdefault(shards[number].format, []).append(number)
    per_task = -(-len(chosen) // _TASKS)
    groups = [
        tuple(part[at : at + per_task]) for part in by_format.values() for at in range(0, len(part), per_task)
    ]
    groups = [*[()] * _EMPTY_TASKS, *groups]
    return PreflightSample(range_bytes, tuple(groups)), Sampled(
        name, sample_bytes, len(groups), tuple(shard.num_bytes for shard in whole)
    )


def estimate(
    recipe: Recipe, scratch: Path, engine: EngineSettings, num_cpus: int, progress: Progress
) -> Prediction:
    """Run the sample in `scratch` (removed afterwards); predict every step but training."""
    chosen = {name: choose_sample(recipe, name) for name in recipe.sources}
    samples = {name: sample for name, (sample, _) in chosen.items()}
    sampled = {name: part for name, (_, part) in chosen.items()}
    try:
        result = run_plan(build_plan(recipe, "encode", samples=samples), scratch, engine, progress)
        steps = [_step(name, manifest, sampled, num_cpus) for name, manifest in result.manifests.items()]
        times = [
            record.timing["seconds"]
            for name, part in result.manifests.items()
            if "extract/" in name
            for record in part.read_records()
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    # What the sample's run took besides its tasks, the run of the whole takes as well.
    besides = result.seconds - sum(step.sample_seconds for step in steps)
    return Prediction(
        steps, list(sampled.values()), total([step.wall_seconds for step in steps]).plus(besides), times
    )


def total(parts: Sequence[Interval]) -> Interval:
    return Interval(
        sum(part.value for part in parts), sum(part.low for part in parts), sum(part.high for part in parts)
    )


def _step(name: str, manifest: Manifest, sampled: Mapping[str, Sampled], num_cpus: int) -> StepEstimate:
    source = name.partition("/")[2]
    parts = [sampled[source]] if source in sampled else list(sampled.values())
    factor = sum(part.total_bytes for part in parts) / max(1, sum(part.sample_bytes for part in parts))
    records = manifest.read_records()
    phases: dict[str, list[float]] = {}
    for record in records:
        phases.setdefault(record.phase, []).append(record.timing["seconds"])
    idle = min((seconds for times in phases.values() for seconds in times), default=0.0)
    whole = [_phase(np.array(times), parts, idle, factor, num_cpus) for times in phases.values()]
    disk = np.array([sum(entry.bytes for entry in record.files) for record in records], float)
    return StepEstimate(
        name,
        _kept(records),
        total([cpu for cpu, _ in whole]),
        total([wall for _, wall in whole]),
        sum(makespan(times, num_cpus) for times in phases.values()),
        int(max((record.timing["peak_bytes"] for record in records), default=0)),
        _sum_interval(disk).scaled(factor),
    )


def _phase(
    seconds: npt.NDArray[np.float64], parts: Sequence[Sampled], idle: float, factor: float, num_cpus: int
) -> tuple[Interval, Interval]:
    """Predict the CPU and wall seconds of a phase: what each task takes at least, and what grows with its
    bytes."""
    has_work = np.concatenate([np.arange(part.num_tasks) >= _EMPTY_TASKS for part in parts])
    by_shard = len(seconds) == len(has_work)
    least = float(seconds[~has_work].min()) if by_shard else idle
    working = seconds[has_work] if by_shard else seconds
    steady = _without_warm_up(working)
    grows = _sum_interval(np.maximum(steady - least, 0.0)).scaled(factor * len(working) / max(1, len(steady)))
    sizes = [size for part in parts for size in part.shards] if by_shard else [1] * len(seconds)
    shares = np.array(sizes) / max(1, sum(sizes))

    def spread(amount: float) -> tuple[float, float]:
        times = least + amount * shares
        return float(times.sum()), makespan(times.tolist(), num_cpus)

    (cpu, wall), (cpu_low, wall_low), (cpu_high, wall_high) = map(
        spread, (grows.value, grows.low, grows.high)
    )
    return Interval(cpu, cpu_low, cpu_high), Interval(wall, wall_low, wall_high)


def _without_warm_up(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Leave out tasks that also started a process or compiled a kernel: more than three times the median."""
    steady = seconds[seconds <= 3 * np.median(seconds)] if len(seconds) > 2 else seconds
    return steady if len(steady) else seconds


def _sum_interval(values: npt.NDArray[np.float64]) -> Interval:
    if len(values) == 0:
        return Interval(0.0, 0.0, 0.0)
    sums = values[_resamples(len(values))].sum(axis=1)
    return Interval(float(values.sum()), float(np.quantile(sums, 0.05)), float(np.quantile(sums, 0.95)))


def _kept(records: Sequence[TaskRecord]) -> Interval | None:
    books = [record.books for record in records if record.books]
    kept = np.array([part.items_out["kept"] for part in books], float)
    entered = np.array(
        [part.items_out["kept"] + part.items_out["removed"] + part.items_out["failed"] for part in books],
        float,
    )
    if not books or not entered.sum():
        return None
    picks = _resamples(len(books))
    rates = kept[picks].sum(axis=1) / np.maximum(1, entered[picks].sum(axis=1))
    return Interval(
        float(kept.sum() / entered.sum()), float(np.quantile(rates, 0.05)), float(np.quantile(rates, 0.95))
    )


def _resamples(size: int) -> npt.NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(size)).integers(0, size, (_RESAMPLES, size))


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
        if step.peak_bytes * num_cpus > memory_bytes:
            said.append(
                f"{num_cpus} workers of {step.step} may take {num_cpus * step.peak_bytes / 1e9:.1f} GB, "
                f"the machine has {memory_bytes / 1e9:.1f} GB: use fewer with `--workers`"
            )
    return said
