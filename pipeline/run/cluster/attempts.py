"""Attempts at a task: which count, what is told of them, and when a task is given up.

An attempt on a node that was left out since does not count, nor do the first few that ended because their
node was lost: neither is the task's doing. All others do, whether the task raised or its worker died.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gristmill.errors import GristmillError
from gristmill.files.disk import space_hint
from gristmill.pipeline.run.job import Task
from gristmill.redact import public_url

_LOST_NODES = 5  # a task that loses more nodes than these may be why they are lost
_SHOWN_INPUTS = 5


@dataclass(frozen=True, slots=True)
class Attempted:
    """One attempt that failed: where, how long it took, and why. `log` is the end of a dead worker's log."""

    error: str
    traceback: str = ""
    hint: str | None = None
    node: str = ""  # as it is named to people; empty in this process
    node_id: str = ""
    pid: int = 0
    seconds: float = 0.0
    log: str = ""
    node_lost: bool = False


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A task that failed on every attempt, with all of them."""

    task: Task
    attempts: tuple[Attempted, ...]

    @property
    def last(self) -> Attempted:
        return self.attempts[-1]

    @property
    def error(self) -> str:
        """The last attempt's error, and on which nodes the task failed."""
        nodes = list(dict.fromkeys(attempt.node for attempt in self.attempts if attempt.node))
        return f"{self.last.error} (on {', '.join(nodes)})" if nodes else self.last.error

    @property
    def hint(self) -> str | None:
        return self.last.hint

    def report(self, phase: str) -> str:
        """Spell for the quarantine file: inputs, every attempt, the worker's log, and the traceback last."""
        lines = [f"task {self.task.key} of phase {phase}, {len(self.attempts)} attempts"]
        inputs = list(input_names(self.task.arguments))
        more = len(inputs) - _SHOWN_INPUTS
        lines += [f"input {name}" for name in inputs[:_SHOWN_INPUTS]]
        lines += [f"and {more} more inputs"] if more > 0 else []
        for number, attempt in enumerate(self.attempts, 1):
            place = f" on node {attempt.node}, pid {attempt.pid}" if attempt.node else ""
            lines.append(f"attempt {number}{place}, {attempt.seconds:.1f} s: {attempt.error}")
        if self.last.log:
            lines += ["the worker's log ends:", *(f"  {line}" for line in self.last.log.splitlines())]
        return "\n".join([*lines, "", self.last.traceback or self.last.error])


@dataclass(slots=True)
class Pending:
    """A task that waits for its next attempt, and those it had."""

    task: Task
    attempts: list[Attempted] = field(default_factory=list)
    not_before: float = 0.0

    def counted(self, left_out: Container[str]) -> int:
        """The attempts that count against the task."""
        lost = [attempt for attempt in self.attempts if attempt.node_lost]
        own = [
            attempt for attempt in self.attempts if not attempt.node_lost and attempt.node_id not in left_out
        ]
        return len(own) + max(0, len(lost) - _LOST_NODES)


def first_line(error: BaseException) -> str:
    if not isinstance(error, GristmillError):
        return f"{type(error).__name__}: {error}".splitlines()[0]
    where = f", at `{error.where}`" if error.where and error.where not in error.message else ""
    return (error.message.splitlines() or [type(error).__name__])[0] + where


def hint_of(error: BaseException) -> str | None:
    """What to do about an error, where that is known."""
    return getattr(error, "hint", None) or space_hint(error)


def input_names(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Name what a task reads, as it may be shown: ranges of inputs, else the file or shard it is given."""
    for value in arguments.values():
        ranges: Sequence[Any] = getattr(value, "ranges", ())
        for part in ranges:
            whole = part.start == 0 and part.end == part.size
            yield part.shown if whole else f"{part.shown}@{part.start}-{part.end}"
        if not ranges and dataclasses.is_dataclass(value):
            path = getattr(value, "path", None) or getattr(value, "index", None)
            if path:
                yield public_url(str(path))
        elif isinstance(value, str) and "/" in value:
            yield public_url(value)
