"""When tasks end that are given to the first free CPU, as the engine's window gives them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gristmill.errors import UsageError


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


def simulate(
    seconds: Sequence[float], num_shards: int, num_nodes: int, cpus_per_node: int, seed: int
) -> dict[str, float]:
    """Schedule `num_shards` tasks, their times drawn from measured ones, on a cluster: makespan, stragglers,
    use.

    A draw per shard keeps the measured tail.
    """
    if not seconds:
        raise UsageError(
            "no shard was measured", hint="name a run that has finished a step, or use `--estimate` first"
        )
    times = np.random.Generator(np.random.PCG64(seed)).choice(np.asarray(seconds), num_shards)
    ends = ends_of(times.tolist(), num_nodes * cpus_per_node)
    last, busy = float(ends.max()), float(times.sum())
    return {
        "makespan_seconds": last,
        "cpu_seconds": busy,
        "used_fraction": busy / (last * num_nodes * cpus_per_node),
        "last_percent_seconds": last - float(np.quantile(ends, 0.99)),
    }
