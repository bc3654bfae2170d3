"""One phase on Ray: tasks that wait, calls in flight, records that are being read, and attempts that
failed."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.errors import GristmillError, Interrupted
from gristmill.files.location import location
from gristmill.manifest import TaskRecord, record_path
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.cluster.attempts import (
    Attempted,
    Pending,
    TaskFailure,
    first_line,
    hint_of,
    input_names,
)
from gristmill.pipeline.run.cluster.calls import Caller, Flight
from gristmill.pipeline.run.cluster.confirm import Confirming, confirmed
from gristmill.pipeline.run.cluster.deaths import death_of
from gristmill.pipeline.run.cluster.worker import Trouble, is_as_planned
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.narration.watch import AtWork, Watch

if TYPE_CHECKING:
    from gristmill.pipeline.run.cluster.on_ray import RayEngine

_POLL_SECONDS = 0.2
_TELL_SECONDS = 0.5
_SILENT_SECONDS = 10.0  # without a node that takes a task, before that is said


class PhaseRun:
    """Run the tasks of a phase on an engine's cluster and return those that were given up."""

    def __init__(
        self, engine: RayEngine, folder: Path, phase: Phase, tasks: Sequence[Task], watch: Watch
    ) -> None:
        self.engine, self.folder, self.phase, self.watch = engine, folder, phase, watch
        self.ray, self.nodes, self.settings = engine.ray, engine.nodes, engine.settings
        self.caller = Caller(self.ray, self.nodes, folder, phase, engine.probe, engine.release)
        self.flights = self.caller.flights
        self.waiting = deque(Pending(task) for task in tasks)
        self.later: list[Pending] = []  # to be tried again after a pause
        self.confirming: Confirming[tuple[Pending, Flight]] = Confirming(self.settings.record_seconds)
        self.ended: set[str] = set()
        self.doubled: set[str] = set()  # tasks that two calls were made for
        self.failures: list[TaskFailure] = []
        self._heard = self._told = time.monotonic()
        self._has_said_that_it_waits = False

    def work(self) -> list[TaskFailure]:
        try:
            while self.waiting or self.later or self.flights or self.confirming:
                signals.check()
                self.engine.head.check()
                self._give()
                for call in self._ready():
                    self._hear(call)
                for (pending, flight), found in list(self.confirming.finished()):
                    self._confirm(pending, flight, found)
                self._tell()
        except GristmillError:
            raise
        except Exception:
            self.engine.head.check(now=True)
            raise
        finally:
            self.confirming.close()
            if self.flights and not self.engine.head.is_lost:
                self._cancel(list(self.flights))
        return self.failures

    def _give(self) -> None:
        """Call workers for what waits, as far as the window allows."""
        now, usual, num_ended = time.monotonic(), self.watch.usual, self.watch.num_ended
        due = [pending for pending in self.later if pending.not_before <= now]
        self.later = [pending for pending in self.later if pending.not_before > now]
        for pending in due:
            self.caller.call([pending])
        window = self.phase.window or self.engine.window
        while self.waiting and len(self.flights) < window:
            count = self.caller.tasks_per_call(usual, num_ended, len(self.waiting))
            self.caller.call([self.waiting.popleft() for _ in range(min(count, len(self.waiting)))])
        if self.waiting or self.later or self.phase.saves or not self.settings.speculate:
            return
        for flight in self.caller.late(usual, num_ended):
            name, seconds = self.nodes.name(flight.node_id), now - (flight.begun or now)
            self.watch.note(
                f"  {self.phase.name} {flight.pending[0].task.key} takes {seconds:.0f} s on {name}, others"
                f" {usual:.1f} s: another node begins it, too"
            )
            self.doubled.add(flight.pending[0].task.key)
            self.caller.call(flight.pending, avoid=flight.node_id, is_second=True)

    def _ready(self) -> list[Any]:
        """The calls that have something to tell; what a signal handler raises meanwhile Ray wraps in a
        SystemError."""
        patience = 0.02 if len(self.confirming) else _POLL_SECONDS
        if not self.flights:
            time.sleep(patience)
            return []
        calls = list(self.flights)
        try:
            ready = self.ray.wait(calls, num_returns=1, timeout=patience)[0]
            return list(self.ray.wait(calls, num_returns=len(calls), timeout=0)[0]) if ready else []
        except SystemError as error:
            if isinstance(error.__cause__, Interrupted):
                raise error.__cause__ from None
            raise

    def _hear(self, call: Any) -> None:
        flight = self.flights.get(call)
        if flight is None:  # cancelled meanwhile
            return
        self._heard = time.monotonic()
        try:
            events = self.ray.get(next(call))
        except StopIteration:
            del self.flights[call]
            self._left_over(flight, self._attempted(flight, "the worker ended without a word on it"))
            return
        except Exception as error:
            del self.flights[call]
            self._broke_off(flight, error)
            return
        for event in events:
            self._take(call, flight, event)

    def _take(self, call: Any, flight: Flight, event: Any) -> None:
        match event:
            case ("begin", node_id, pid, log):
                flight.node_id, flight.pid, flight.log = node_id, pid, log
                flight.begun = time.monotonic()
            case ("unfit", reason):
                del self.flights[call]
                self.nodes.leave_out(flight.node_id, reason)
                self.waiting.extendleft(reversed([one for one in flight.pending if self._is_open(one)]))
            case ("done", _, path, digest):
                pending = self._next(flight)
                if pending.task.key not in self.ended:
                    self.confirming.add((pending, flight), location(path), digest)
            case ("failed", _, Trouble() as trouble):
                self._failed(self._next(flight), flight, trouble)

    def _next(self, flight: Flight) -> Pending:
        """Let a call go on to its next task; return the one that ended."""
        pending = flight.pending[flight.told]
        flight.told, flight.begun = flight.told + 1, time.monotonic()
        return pending

    def _is_open(self, pending: Pending) -> bool:
        """Whether a task has not ended, and no call works on it."""
        at_work = any(flight.works_on(pending) for flight in self.flights.values())
        return pending.task.key not in self.ended and not at_work

    def _confirm(self, pending: Pending, flight: Flight, found: TaskRecord | Exception) -> None:
        if isinstance(found, TaskRecord):
            self._end(pending, found)
        else:
            self._count(pending, self._attempted(flight, first_line(found), hint_of(found)))

    def _failed(self, pending: Pending, flight: Flight, trouble: Trouble) -> None:
        """Count what a task raised, unless it is its node's doing: inputs that the driver sees and it does
        not."""
        wrong = next((one for one in trouble.unseen if is_as_planned(one)), None)
        if wrong is not None:
            what = "has another version of" if wrong[1] < 0 else "does not see"
            self.nodes.leave_out(flight.node_id, f"{what} `{wrong[0]}`, which the driver sees as planned")
        elif trouble.fatal is not None:
            raise trouble.fatal
        attempted = self._attempted(flight, trouble.error, trouble.hint, trouble.traceback)
        self._count(pending, attempted, in_vain=trouble.in_vain and wrong is None)

    def _broke_off(self, flight: Flight, error: Exception) -> None:
        """Go on after a call that ended in the middle: its worker died, or its node."""
        is_lost = bool(flight.node_id) and not self.nodes.is_up(flight.node_id)
        log = "" if is_lost or not flight.node_id else self.engine.log_tail(flight.node_id, flight.log)
        death = death_of(error, log, node_lost=is_lost)
        attempted = self._attempted(
            flight, death.said, death.hint, death.traceback, log=log, node_lost=death.is_of_node
        )
        self._left_over(flight, attempted)

    def _left_over(self, flight: Flight, attempted: Attempted) -> None:
        """Attempt again what a call has not told of.

        Its tasks run in order, and some may have records that it had no time to tell of: the first that has
        none was at work. The others are tried one by one, so that it shows which is at fault.
        """
        rest = [one for one in flight.pending[flight.told :] if one.task.key not in self.ended]
        while len(rest) > 1 and (record := self._record_of(rest[0])):
            self._end(rest.pop(0), record)
        if rest:
            self._count(rest[0], attempted)
            self.later.extend(rest[1:])

    def _record_of(self, pending: Pending) -> TaskRecord | None:
        try:
            return confirmed(record_path(self.folder, self.phase.name, pending.task.key))
        except Exception:
            return None

    def _attempted(
        self, flight: Flight, error: str, hint: str | None = None, traceback: str = "", **facts: Any
    ) -> Attempted:
        seconds = time.monotonic() - (flight.begun or flight.submitted)
        node = self.nodes.name(flight.node_id) if flight.node_id else ""
        return Attempted(error, traceback, hint, node, flight.node_id, flight.pid, seconds, **facts)

    def _count(self, pending: Pending, attempted: Attempted, *, in_vain: bool = False) -> None:
        """Enter a failed attempt; the task is tried again after a pause, or given up."""
        if pending.task.key in self.ended:
            return
        pending.attempts.append(attempted)
        if attempted.node_id and not attempted.node_lost:
            name = f"{self.phase.name} {pending.task.key}"
            self.nodes.note_failure(attempted.node_id, name, attempted.error)
        if not self._is_open(pending):
            return  # a second call still works on it
        counted = pending.counted(self.nodes.left_out)
        if counted > self.settings.retries or in_vain:
            self.failures.append(TaskFailure(pending.task, tuple(pending.attempts)))
            self._end(pending, None)
            return
        pause = self.settings.retry_seconds * 2 ** max(0, counted - 1)
        pending.not_before = time.monotonic() + pause
        self.later.append(pending)

    def _end(self, pending: Pending, record: TaskRecord | None) -> None:
        if pending.task.key in self.ended:
            return
        self.ended.add(pending.task.key)
        self.watch.ended(record)
        if pending.task.key not in self.doubled:
            return  # nearly always: to look through thousands of calls for each task would hold up all
        for call in [call for call, flight in self.flights.items() if flight.works_on(pending)]:
            if len(self.flights[call].pending) == 1:  # the other of two that were begun
                self._cancel([call])
                del self.flights[call]

    def _tell(self) -> None:
        """Say what is at work, and for how long; what waits for a node says so."""
        now = time.monotonic()
        if now - self._told < _TELL_SECONDS:
            return
        self._told = now
        begun = [flight for flight in self.flights.values() if flight.begun is not None and flight.current]
        waits = ""
        if self.flights and not begun:
            oldest = min(flight.submitted for flight in self.flights.values())
            if now - max(self._heard, oldest) > _SILENT_SECONDS:
                waits = self._spell_waiting()
        if waits and not self._has_said_that_it_waits:
            self.watch.note(f"  {self.phase.name} {waits}")
        self._has_said_that_it_waits = bool(waits) or (self._has_said_that_it_waits and not begun)
        self.watch.at_work([self._at_work(flight, now) for flight in begun], waits)

    def _at_work(self, flight: Flight, now: float) -> AtWork:
        assert flight.current is not None
        task = flight.current.task
        seconds = now - (flight.begun or now)
        name = next(input_names(task.arguments), "")
        return AtWork(task.key, self.nodes.name(flight.node_id), name, seconds)

    def _spell_waiting(self) -> str:
        need = f"{self.nodes.cpus_for(self.phase):g} CPUs"
        need += f", {gpus:g} GPUs" if (gpus := self.nodes.gpus_for(self.phase)) else ""
        need += f" and {self.phase.memory_bytes:,} bytes" if self.phase.memory_bytes else ""
        working = self.nodes.working()
        there = "; ".join(node.spelled() for node in working[:5]) or "no node that works"
        return f"waits for resources: a task takes {need}, and none is free on {there}"

    def _cancel(self, calls: Sequence[Any]) -> None:
        """End calls: at once (without force, extractor children would live on), or after they have saved."""

        def cancel(*, force: bool) -> None:
            for call in calls:
                with contextlib.suppress(Exception):
                    self.ray.cancel(call, force=force)

        if not self.phase.saves:
            cancel(force=True)
            return
        cancel(force=False)
        with signals.patience("the task to save what it has", lambda: cancel(force=True)):
            while not all(_is_over(self.ray, call) for call in calls):
                pass


def _is_over(ray: Any, call: Any) -> bool:
    """Whether a call has nothing more to tell; waits a second for it."""
    if not ray.wait([call], num_returns=1, timeout=1)[0]:
        return False
    try:
        ray.get(next(call))
        return False
    except (StopIteration, Exception):
        return True
