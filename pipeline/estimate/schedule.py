"""When a run ends whose tasks go to the first free CPU, phase after phase, as the engine gives them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

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


def phase_seconds(phase: PhaseCost, num_cpus: int, seed: int = 0) -> tuple[float, float]:
    """Return the wall seconds of a phase, and how long its last percent of tasks keeps the others waiting.

    Each process warms up once, all of them at the same time; the driver bounds how many tasks begin a second.
    """
    seconds = phase.seconds(seed)
    if not len(seconds):
        return 0.0, 0.0
    ends = ends_of(seconds.tolist(), num_cpus)
    last = max(float(ends.max()), len(seconds) * DRIVER_SECONDS if num_cpus > 1 else 0.0)
    tail = last - float(np.quantile(ends, 0.99)) if len(seconds) > num_cpus else 0.0
    return last + phase.warm_up, tail


def waits_for_driver(phase: PhaseCost, num_cpus: int, seed: int = 0) -> bool:
    """Whether a phase's tasks are so short and many that CPUs wait for the driver to hand them out."""
    seconds = phase.seconds(seed)
    return num_cpus > 1 and len(seconds) * DRIVER_SECONDS > float(seconds.sum()) / num_cpus + seconds.max(
        initial=0
    )


def simulate(phases: Sequence[PhaseCost], num_cpus: int, seed: int = 0) -> dict[str, float]:
    """Run phases one after another on a cluster: makespan, CPU seconds of work, use, and waiting for the
    last; `driver_seconds` is the part in which tasks are handed out one after another, however many CPUs."""
    walls = [phase_seconds(phase, num_cpus, seed) for phase in phases]
    busy = sum(float(phase.seconds(seed).sum()) for phase in phases)
    last = sum(wall for wall, _ in walls)
    return {
        "makespan_seconds": last,
        "cpu_seconds": busy,
        "used_fraction": busy / (last * num_cpus) if last else 0.0,
        "last_percent_seconds": sum(tail for _, tail in walls),
        "driver_seconds": sum(
            wall
            for phase, (wall, _) in zip(phases, walls, strict=True)
            if waits_for_driver(phase, num_cpus, seed)
        ),
    }
