"""Processes of one torch process group on the nodes of a Ray cluster: started together, stopped together, and
started again from their last checkpoint where a node was lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from gristmill.errors import EngineError
from gristmill.pipeline.run.cluster.nodes import Nodes
from gristmill.pipeline.run.settings import EngineSettings

_SAID_SECONDS = 10.0
_AGAIN_SECONDS = 60.0
_GRACE_SECONDS = 30.0


class _NodeLost(Exception):
    """A rank's node, or its worker, went away."""


def run_ranks(
    ray: Any, settings: EngineSettings, command: Sequence[str], num_ranks: int, *, use_gpus: bool
) -> int:
    """Run a Python command once per rank; return 0 or the first other exit code.

    Raises EngineError when more nodes were lost than `settings.retries` allows.
    """
    for number in range(settings.retries + 1):
        try:
            return _run_once(ray, command, num_ranks, use_gpus=use_gpus)
        except _NodeLost as lost:
            left = settings.retries - number
            _say(
                f"training: {lost}; "
                + (
                    f"the ranks are started again from the last checkpoint (restart {number + 1} of"
                    f" {settings.retries})"
                    if left
                    else f"given up after {number} restarts"
                )
            )
    raise EngineError(
        f"training lost a node {settings.retries + 1} times",
        hint="the same command goes on from the last checkpoint",
    )


def _run_once(ray: Any, command: Sequence[str], num_ranks: int, *, use_gpus: bool) -> int:
    bundle: dict[str, float] = {"CPU": 1, **({"GPU": 1} if use_gpus else {})}
    group = ray.util.placement_group([bundle] * num_ranks, strategy="PACK")
    running: list[Any] = []
    try:
        _wait_for_places(ray, group, num_ranks, use_gpus=use_gpus)
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        places = [strategy(group, placement_group_bundle_index=rank) for rank in range(num_ranks)]
        need = {"num_cpus": 1, "num_gpus": 1 if use_gpus else 0, "max_retries": 0}
        meeting = ray.get(ray.remote(_meeting_point).options(scheduling_strategy=places[0], **need).remote())
        remote = ray.remote(_run_rank)
        running = [
            remote.options(scheduling_strategy=place, name=f"train:rank {rank}", **need).remote(
                list(command), rank, num_ranks, *meeting
            )
            for rank, place in enumerate(places)
        ]
        while running:
            ready, running = ray.wait(running, num_returns=1)
            if code := int(ray.get(ready[0])):
                return code
        return 0
    except ray.exceptions.RayTaskError:
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise _NodeLost(f"a rank was lost ({type(error).__name__})") from error
    finally:
        for reference in running:
            ray.cancel(reference)  # raises in the task, which lets its process save and leave
        if running:
            ray.wait(running, num_returns=len(running), timeout=_GRACE_SECONDS)
        ray.util.remove_placement_group(group)


def _wait_for_places(ray: Any, group: Any, num_ranks: int, *, use_gpus: bool) -> None:
    """Wait until every rank has its place, and say so where that takes long: an autoscaler may bring one."""
    ready, began, said = group.ready(), time.monotonic(), 0.0
    while not ray.wait([ready], timeout=1.0)[0]:
        waited = time.monotonic() - began
        if waited > _SAID_SECONDS and time.monotonic() - said > _AGAIN_SECONDS:
            said = time.monotonic()
            nodes = list(Nodes(ray).up().values())
            there = "; ".join(node.spelled() for node in nodes)
            what = "1 CPU and 1 GPU" if use_gpus else "1 CPU"
            _say(f"training waits for resources: {num_ranks} ranks take {what} each; there are {there}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _meeting_point() -> tuple[str, int]:
    from gristmill.trainer.ranks.launch import free_port

    return sys.modules["ray"].util.get_node_ip_address(), free_port()


def _run_rank(command: list[str], rank: int, ranks: int, address: str, port: int) -> int:
    from gristmill.trainer.ranks.launch import rank_environment

    # Ray shows a task only its own GPU, so that is number 0 here.
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **rank_environment(rank, ranks, 0, address, port)}
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait(timeout=_GRACE_SECONDS)
        raise
