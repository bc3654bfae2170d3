"""Calls to workers: how many tasks go into one, where it may go, and when a task is begun a second time.

A call is a generator on a worker: it tells first where it is, then what became of each task
(`gristmill.pipeline.run.cluster.worker`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gristmill.files.location import roots
from gristmill.pipeline.run.cluster import gate
from gristmill.pipeline.run.cluster.attempts import Pending
from gristmill.pipeline.run.cluster.nodes import Nodes, inside_job
from gristmill.pipeline.run.cluster.worker import Call, Named
from gristmill.pipeline.run.job import Phase, function_name
from gristmill.pipeline.run.narration.stragglers import straggles

_CALL_SECONDS = 0.25  # of work in one call, where tasks are short
_MOST_TASKS = 32  # in one call
_LEAST_MEASURED = 8  # tasks, before their seconds say how many go into a call


@dataclass(slots=True, eq=False)
class Flight:
    """A call in flight: its tasks, and what it has told so far."""

    pending: list[Pending]
    submitted: float
    begun: float | None = None  # when the task at work was
    node_id: str = ""
    pid: int = 0
    log: str = ""
    told: int = 0  # tasks that ended
    is_second: bool = False  # of a task that another call works on, too

    @property
    def current(self) -> Pending | None:
        """The task at work."""
        return self.pending[self.told] if self.told < len(self.pending) else None

    def works_on(self, pending: Pending) -> bool:
        return any(one is pending for one in self.pending[self.told :])


@dataclass
class Caller:
    """Makes calls for the tasks of one phase."""

    ray: Any
    nodes: Nodes
    folder: Path
    phase: Phase
    probe: tuple[Path, bytes] | None
    release: Mapping[str, Any]
    flights: dict[Any, Flight] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._remote = self.ray.remote(gate.work_through_gate)
        expected = {**self.release, "libraries": dict(self.phase.libraries)}
        shared = self.ray.cloudpickle.dumps(self.phase.shared)
        self._common = (self.ray.put(expected), self.ray.put(shared))
        self._cwd = None if inside_job() else str(Path.cwd())

    def call(self, pending: list[Pending], *, avoid: str = "", is_second: bool = False) -> None:
        """Send tasks to a worker, on a node where none of them failed, if there is one."""
        tasks = [
            Named(one.task.key, function_name(one.task.function), dict(one.task.arguments), one.task.checks)
            for one in pending
        ]
        call = Call(self.folder, self.phase.name, tasks, roots(), self.probe, self._cwd)
        avoided = {avoid, *(attempt.node_id for one in pending for attempt in one.attempts)} - {""}
        expected, shared = self._common
        packed = self.ray.cloudpickle.dumps(call)
        options = self._options(pending, avoided)
        reference = self._remote.options(**options).remote(expected, packed, shared)
        self.flights[reference] = Flight(pending, time.monotonic(), is_second=is_second)

    def tasks_per_call(self, usual: float, num_ended: int, num_waiting: int) -> int:
        """More than one where tasks are so short that a call costs as much; to the end all CPUs get some."""
        if num_ended < _LEAST_MEASURED or usual >= _CALL_SECONDS / 2:
            return 1
        share = num_waiting / max(1.0, 4 * self.nodes.num_cpus())
        return max(1, int(min(_CALL_SECONDS / max(usual, 0.001), share, _MOST_TASKS)))

    def late(self, usual: float, num_ended: int) -> list[Flight]:
        """The calls whose task takes far longer than usual while another node idles: none of them was begun a
        second time."""
        at_work = [flight for flight in self.flights.values() if flight.begun is not None]
        if len(at_work) < len(self.flights) or len(self.nodes.working()) < 2:
            return []
        num_idle = int((self.nodes.num_cpus() - len(at_work)) / self.nodes.cpus_for(self.phase))
        doubled = [flight.pending[0] for flight in at_work if flight.is_second]
        now = time.monotonic()
        found = [
            flight
            for flight in at_work
            if len(flight.pending) == 1
            and not any(flight.works_on(one) for one in doubled)
            and straggles(now - (flight.begun or now), usual, num_ended)
        ]
        return found[: max(0, num_idle)]

    def _options(self, pending: Sequence[Pending], avoided: set[str]) -> dict[str, Any]:
        first, last = pending[0].task.key, pending[-1].task.key  # neighbours: what is tried again goes alone
        keys = first if first == last else f"{first}..{last}"
        options: dict[str, Any] = {
            "num_cpus": self.nodes.cpus_for(self.phase),
            "max_retries": 0,  # attempts are counted here
            "num_returns": "streaming",
            "name": f"{self.folder.name}:{self.phase.name}:{keys}",
        }
        if gpus := self.nodes.gpus_for(self.phase):
            options["num_gpus"] = gpus
        if self.phase.memory_bytes:
            options["memory"] = self.phase.memory_bytes
        if selector := self.nodes.selector(avoided):
            options["label_selector"] = selector
        return options
