"""When a run ends whose tasks go to the first free CPU, phase after phase, as the engine gives them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.estimate.phases import PhaseCost

# Of the driver, for each task that it hands out and takes back: 368 tasks/s (benchmarks/results/cluster.json,
# `short`).
DRIVER_SECONDS = 1 / 368


def ends_of(seconds: Sequence[float], num_cpus: int) -> npt.NDArray[np.float64]:
    """Return when each of the tasks ends, begun in order, each on the first CPU that is free."""
    free = [0.0] * num_cpus
    ends = np.empty(len(seconds))
    for number, took in enumerate(seconds):
        ends[number] = heapq.heappop(free) + took
        heapq.heappush(free, float(ends[number]))
    return ends


def makespan(seconds: Sequence[float], num_cpus: int) -> float:
    """Return when the last task ends."""
    return float(ends_of(seconds, num_cpus).max()) if len(seconds) else 0.0


class PhaseTime(NamedTuple):
    """A phase's wall seconds; how long its last percent of tasks keeps the others waiting; the CPU seconds of
    its tasks; and whether they are so short and many that the driver, who hands them out, ends last."""

    wall: float
    tail: float
    work: float
    by_driver: bool


def phase_time(phase: PhaseCost, num_cpus: int, seed: int = 0) -> PhaseTime:
    """Lay a phase's tasks out over CPUs.

    Each process warms up once, all of them at the same time; the driver bounds how many tasks begin a second.
    """
    seconds = phase.seconds(seed)
    if not len(seconds):
        return PhaseTime(0.0, 0.0, 0.0, False)
    ends = ends_of(seconds.tolist(), num_cpus)
    done, handed_out = float(ends.max()), len(seconds) * DRIVER_SECONDS if num_cpus > 1 else 0.0
    last = max(done, handed_out)
    tail = last - float(np.quantile(ends, 0.99)) if len(seconds) > num_cpus else 0.0
    return PhaseTime(last + phase.warm_up, tail, float(seconds.sum()), handed_out > done)


def simulate(phases: Sequence[PhaseCost], num_cpus: int, seed: int = 0) -> dict[str, float]:
    """Run phases one after another on a cluster: makespan, CPU seconds of work, use, and waiting for the
    last; `driver_seconds` is the part in which tasks are handed out one after another, however many CPUs."""
    times = [phase_time(phase, num_cpus, seed) for phase in phases]
    busy, last = sum(time.work for time in times), sum(time.wall for time in times)
    return {
        "makespan_seconds": last,
        "cpu_seconds": busy,
        "used_fraction": busy / (last * num_cpus) if last else 0.0,
        "last_percent_seconds": sum(time.tail for time in times),
        "driver_seconds": sum(time.wall for time in times if time.by_driver),
    }
