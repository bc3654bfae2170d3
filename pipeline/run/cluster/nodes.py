"""The nodes of a Ray cluster: which of them work, which are left out and why, and what a task may take."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gristmill.errors import EngineError, UsageError
from gristmill.pipeline.run.called import inside_job
from gristmill.pipeline.run.job import Phase

__all__ = ["NODE_LABEL", "Node", "Nodes", "inside_job"]

_REFRESH_SECONDS = 1.0
_FEW_FAILURES = 3  # tasks that failed on one node and on no other, before it is left out
NODE_LABEL = "ray.io/node-id"


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is up: what it has in all, whatever runs there."""

    id: str
    name: str
    cpus: float
    memory: float
    gpus: float

    def spelled(self) -> str:
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.name}: {self.cpus:g} CPUs, {self.memory / 1e9:,.1f} GB{gpus}"


class Nodes:
    """The cluster as it is now, looked at once a second; what was left out stays so for this run."""

    def __init__(self, ray: Any, say: Callable[[str], None] = lambda line: None) -> None:
        self._ray = ray
        self.say = say
        self.left_out: dict[str, str] = {}  # reasons by id
        self._names: dict[str, str] = {}
        self._up: dict[str, Node] = {}
        self._looked = float("-inf")
        self._failed: dict[str, set[str]] = defaultdict(set)  # tasks by the node they failed on

    def up(self, *, now: bool = False) -> dict[str, Node]:
        """Every node that is up, by id."""
        if now or time.monotonic() - self._looked > _REFRESH_SECONDS:
            self._looked = time.monotonic()
            alive = [node for node in self._ray.nodes() if node["Alive"]]
            self._up = {found.id: found for found in self._named(alive)}
        return self._up

    def working(self) -> list[Node]:
        """The nodes that tasks go to: up, with CPUs, and not left out."""
        return [node for node in self.up().values() if node.cpus and node.id not in self.left_out]

    def num_cpus(self) -> float:
        return sum(node.cpus for node in self.working())

    def name(self, node_id: str) -> str:
        if node_id not in self._names:
            self.up(now=True)
        return self._names.get(node_id, node_id[:8])

    def is_up(self, node_id: str) -> bool:
        return node_id in self.up(now=True)

    def leave_out(self, node_id: str, reason: str) -> None:
        """Give a node no more tasks; raises EngineError when no other is left."""
        if node_id in self.left_out:
            return
        self.left_out[node_id] = reason
        self.say(f"  node {self.name(node_id)} is left out: it {reason}")
        if not self.working():
            reasons = "\n".join(f"  {self.name(key)} {why}" for key, why in self.left_out.items())
            raise EngineError(
                f"no node of the cluster can work on this run:\n{reasons}",
                hint="name an `--out` on a file system that all nodes mount at the same path, and install"
                " the same release on all of them",
            )

    def note_failure(self, node_id: str, task: str, error: str) -> None:
        """Count a task that failed on a node; one where several failed that failed nowhere else is left
        out."""
        self._failed[node_id].add(task)
        elsewhere = set[str]().union(*(tasks for key, tasks in self._failed.items() if key != node_id))
        own = self._failed[node_id] - elsewhere
        others_fail = any(
            tasks - self._failed[node_id] for key, tasks in self._failed.items() if key != node_id
        )
        if len(own) < _FEW_FAILURES or others_fail:
            return
        if any(node.id != node_id for node in self.working()):
            self.leave_out(
                node_id, f"failed {len(own)} tasks that failed on no other node, the last: {error}"
            )

    def selector(self, avoided: Iterable[str]) -> dict[str, str]:
        """A label selector for tasks that must not go to nodes left out, nor to those avoided if there are
        others."""
        avoided = set(avoided)
        if not any(node.id not in avoided for node in self.working()):
            avoided = set()
        kept_from = sorted({*self.left_out, *avoided})
        return {NODE_LABEL: f"!in({','.join(kept_from)})"} if kept_from else {}

    def cpus_for(self, phase: Phase) -> float:
        """Return the CPUs that a task of a phase holds; raises UsageError where no node has these and its
        memory.

        A stage's own number gives way to the largest node; what a recipe asks for does not.
        """
        nodes = [node for node in self.working() if (phase.memory_bytes or 0) <= node.memory]
        most = max((node.cpus for node in nodes), default=0.0)
        if nodes and (not phase.is_asked or phase.num_cpus <= most):
            return min(phase.num_cpus or most, most)
        if not self.working():  # an autoscaler may start some
            return phase.num_cpus or 1
        raise UsageError(
            f"a task of phase `{phase.name}` is to hold {self._misfit(phase, most)}:"
            f" {'; '.join(node.spelled() for node in self.working())}",
            hint=(
                "lower `memory_bytes` or `num_cpus` of its stage in `engine.stages`, or start Ray's nodes"
                " with more `--memory` or `--num-cpus`"
            ),
        )

    def gpus_for(self, phase: Phase) -> float:
        """Return the GPUs that a task of a phase holds: none where no node that works has any; raises
        UsageError for more than one node has."""
        most = max((node.gpus for node in self.working()), default=0.0)
        if most and phase.num_gpus > most:
            raise UsageError(
                f"a task of phase `{phase.name}` is to hold {phase.num_gpus:g} GPUs, the largest node has"
                f" {most:g}",
                hint="lower `num_gpus` of its stage in `engine.stages`",
            )
        return phase.num_gpus if most else 0

    def _misfit(self, phase: Phase, most: float) -> str:
        memory = max(node.memory for node in self.working())
        if phase.memory_bytes and phase.memory_bytes > memory:
            return f"{phase.memory_bytes:,} bytes, the largest node offers {memory:,.0f}"
        cpus = max(node.cpus for node in self.working())
        if phase.num_cpus > cpus:
            return f"{phase.num_cpus:g} CPUs, the largest node has {cpus:g}"
        return (
            f"{phase.num_cpus:g} CPUs and {phase.memory_bytes or 0:,} bytes, those with as much memory have"
            f" {most:g} CPUs"
        )

    def _named(self, alive: list[dict[str, Any]]) -> list[Node]:
        addresses = [node.get("NodeManagerAddress", "") for node in alive]
        found = []
        for node, address in zip(alive, addresses, strict=True):
            key = node["NodeID"]
            self._names[key] = address if addresses.count(address) == 1 else f"{address} ({key[:6]})"
            has = node["Resources"]
            resources = (has.get("CPU", 0.0), has.get("memory", 0.0), has.get("GPU", 0.0))
            found.append(Node(key, self._names[key], *map(float, resources)))
        return found
