"""What a phase of tasks costs: measured on a sample, laid out for tasks as many and as large as will run.

A task takes `least` seconds whatever it has to do, and its share of what grows with the input. Phases differ
in what their tasks are: one for each shard of the input; parts of a key space, of which there are as many as
keep a task short; or single tasks, such as the one that trains a tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gristmill.manifest import TaskRecord

PART_SECONDS = 30.0  # the key space is parted so that a task has some ten to sixty seconds of work
_RESAMPLES = 1000
_SPREAD_TASKS = 4  # of fewer tasks it is not known how they differ

Floats = npt.NDArray[np.float64]


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
class PhaseCost:
    """A phase of the whole run: `grows` is what all its tasks take together besides their `least`.

    `sizes` are those of the input's shards where each has a task; else `num_tasks` were measured, which can
    be `parted` further or not. `spread` are measured tasks by their mean. `warm_up`: what the first task of a
    process takes besides. `most` bounds how often more the work is done for a larger input: a tokenizer
    is trained on so much text and no more.
    """

    step: str
    phase: str
    least: float
    grows: Interval
    sizes: tuple[int, ...] = ()
    num_tasks: int = 1
    parted: bool = False
    spread: tuple[float, ...] = (1.0,)
    warm_up: float = 0.0
    most: float = math.inf

    def of_more(self, factor: float) -> PhaseCost:
        """The phase of an input so many times as large, in shards of the same sizes."""
        grown = min(factor, self.most)
        whole, part = divmod(factor * len(self.sizes), max(1, len(self.sizes)))
        sizes = self.sizes * int(whole) + self.sizes[: math.ceil(part)]
        return replace(self, grows=self.grows.scaled(grown), sizes=sizes, most=max(1.0, self.most / factor))

    def seconds(self, seed: int = 0) -> Floats:
        """The seconds of each of its tasks; how they differ is drawn from the measured ones."""
        if self.sizes:
            shares = np.asarray(self.sizes, float) / max(1, sum(self.sizes))
        else:
            parts = math.ceil(self.grows.value / PART_SECONDS) if self.parted else 0
            num = max(self.num_tasks, parts)
            shares = np.full(num, 1 / max(1, num))
        if len(self.spread) > 1 and len(shares) > _SPREAD_TASKS:
            drawn = np.random.Generator(np.random.PCG64(seed)).choice(np.asarray(self.spread), len(shares))
            shares = shares * drawn / max(1e-9, float((shares * drawn).sum()))
        return self.least + self.grows.value * shares

    @property
    def cpu_seconds(self) -> Interval:
        """What its tasks take together, warm-up left out."""
        return self.grows.plus(self.least * len(self.seconds()))


def cost_of_phase(
    step: str,
    phase: str,
    records: Sequence[TaskRecord],
    has_work: Sequence[bool],
    idle: float,
    factor: float,
    sizes: Sequence[int],
    most: float = math.inf,
) -> PhaseCost:
    """Fit a phase to the sample's records of it.

    `has_work` says which tasks of a phase over shards had something to do, `idle` is what the step's cheapest
    task took. `factor` is how often the sample is in the whole, `sizes` are those of the whole's shards, and
    the sample's work is done `most` times at most.
    """
    seconds = np.array([record.timing["seconds"] for record in records])
    busy = np.asarray(has_work)
    by_shard = len(records) == len(has_work)
    working = seconds[busy] if by_shard else seconds
    least = float(seconds[~busy].min()) if by_shard and not busy.all() else idle
    steady = without_warm_up(working)
    above = np.maximum(steady - least, 0.0)
    times = min(factor, most)
    grows = sum_interval(above).scaled(times * len(working) / max(1, len(steady)))
    mean = float(above.mean()) if len(above) else 0.0
    warm = float(seconds.max() - np.median(steady)) if len(steady) < len(working) else 0.0
    return PhaseCost(
        step,
        phase,
        least,
        grows,
        tuple(sizes) if by_shard else (),
        len(records),
        not by_shard and all(record.task.isdecimal() for record in records),
        tuple((above / mean).tolist()) if by_shard and mean and len(above) >= _SPREAD_TASKS else (1.0,),
        warm,
        max(1.0, most / max(times, 1e-9)),
    )


def without_warm_up(seconds: Floats) -> Floats:
    """Leave out tasks that also started a process or compiled a kernel: more than three times the median."""
    steady = seconds[seconds <= 3 * np.median(seconds)] if len(seconds) > 2 else seconds
    return steady if len(steady) else seconds


def sum_interval(values: Floats) -> Interval:
    """The sum of values, and the 90 % interval of it by bootstrap."""
    if len(values) == 0:
        return Interval(0.0, 0.0, 0.0)
    sums = values[resamples(len(values))].sum(axis=1)
    return Interval(float(values.sum()), float(np.quantile(sums, 0.05)), float(np.quantile(sums, 0.95)))


def resamples(size: int) -> npt.NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(size)).integers(0, size, (_RESAMPLES, size))


def total(parts: Sequence[Interval]) -> Interval:
    return Interval(
        sum(part.value for part in parts), sum(part.low for part in parts), sum(part.high for part in parts)
    )
