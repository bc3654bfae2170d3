"""What is known of a phase at work: for the live line, for `status`, and for the records' readers.

The driver keeps sums as tasks end and writes them, with what is at work and for how long, into the step's
folder: whoever asks how far a run is reads one small file, however many shards there are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gristmill.errors import GristmillError
from gristmill.files.location import RemotePath
from gristmill.files.storage import write_atomic
from gristmill.hashing import canonical_json
from gristmill.manifest import TaskRecord
from gristmill.pipeline.run.folder import PROGRESS
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.narration.spelling import spell_seconds
from gristmill.pipeline.run.narration.stragglers import straggles, usual_seconds
from gristmill.pipeline.run.records.totals import Totals

_WRITE_SECONDS = 2.0
_REMOTE_WRITE_SECONDS = 15.0  # each is a request
_LISTED = 10


@dataclass(frozen=True, slots=True)
class AtWork:
    """A task that a node works on: the first of its inputs, and for how long."""

    task: str
    node: str
    input: str
    seconds: float


class Watch:
    """Follow one phase of a step; the engine tells it what ends and what is at work."""

    def __init__(
        self, folder: Path, phase: str, total: int, progress: Progress, totals: Totals | None = None
    ) -> None:
        self.folder, self.phase, self.total, self.progress = folder, phase, total, progress
        self.totals = totals or Totals()  # of the step, over its phases
        self.records: dict[str, TaskRecord] = {}
        self._num_failed = 0
        self._seconds: list[float] = []
        self._usual, self._usual_of = 0.0, 0
        self._sums = {"work_seconds": 0.0, "peak_bytes": 0, "in": 0, "kept": 0}
        self._ended: list[float] = []  # the first and the last
        self._slow: list[tuple[float, str]] = []
        self._every = _REMOTE_WRITE_SECONDS if isinstance(folder, RemotePath) else _WRITE_SECONDS
        self._written = 0.0
        self._at_work: Sequence[AtWork] = ()
        self._waits = ""

    @property
    def usual(self) -> float:
        """The median of what tasks took, 0 before any ended; looked at anew when there are a tenth more."""
        if len(self._seconds) > 1.1 * self._usual_of:
            self._usual, self._usual_of = usual_seconds(self._seconds), len(self._seconds)
        return self._usual

    @property
    def num_ended(self) -> int:
        return len(self.records) + self._num_failed

    def found(self, records: Iterable[TaskRecord]) -> None:
        """Take the records of tasks that an earlier run finished."""
        for record in records:
            self._take(record)

    def ended(self, record: TaskRecord | None) -> None:
        """Take the record of a task that just ended; None for one that was given up."""
        if record is None:
            self._num_failed += 1
        else:
            self._take(record)
        self.progress.advance(record.task if record else "")

    def at_work(self, tasks: Sequence[AtWork], waits: str = "") -> None:
        """Be told what is at work, and what is waited for, if nothing is."""
        self._at_work, self._waits = tasks, waits
        late = max(tasks, key=lambda task: task.seconds, default=None)
        if late is not None and straggles(late.seconds, self.usual, len(self._seconds)):
            self.progress.aside = spell_straggler(asdict(late), self.usual)
        else:
            self.progress.aside = waits
        self.progress.at_work([task.seconds for task in tasks], self.usual)
        if time.monotonic() - self._written > self._every:
            self.write()

    def note(self, line: str) -> None:
        self.progress.note(line)

    def write(self) -> None:
        """Put what is known where `status` finds it; a store that does not answer is told of where work is
        done."""
        with suppress(GristmillError, OSError):
            write_atomic(self.folder / PROGRESS, canonical_json(self.facts()))
        self._written = time.monotonic()

    def facts(self) -> dict[str, Any]:
        """A bounded summary, as plain JSON."""
        longest = sorted(self._at_work, key=lambda task: -task.seconds)
        return {
            "phase": self.phase,
            "total": self.total,
            "shards": len(self.records),
            "failed": self._num_failed,
            **self._sums,
            "work_seconds": round(self._sums["work_seconds"], 1),
            "median_seconds": round(median(self._seconds), 3) if self._seconds else 0.0,
            "first_ended": self._ended[0] if self._ended else None,
            "last_ended": self._ended[1] if self._ended else None,
            "stragglers": [
                key for seconds, key in self._slow if straggles(seconds, self.usual, len(self._seconds))
            ],
            "num_at_work": len(self._at_work),
            "at_work": [{**asdict(task), "seconds": round(task.seconds, 1)} for task in longest[:_LISTED]],
            "waits_for": self._waits,
            "written": round(time.time(), 1),
        }

    def _take(self, record: TaskRecord) -> None:
        self.totals.add(record)
        record.slim()
        self.records[record.task] = record
        timing = record.timing
        seconds = float(timing.get("seconds", 0.0))
        self._seconds.append(seconds)
        self._sums["work_seconds"] += seconds
        self._sums["peak_bytes"] = max(self._sums["peak_bytes"], timing.get("peak_bytes", 0))
        if record.books:
            self._sums["in"] += record.books.items_in
            self._sums["kept"] += record.books.items_out.get("kept", 0)
        if (ended := timing.get("ended")) is not None:
            self._ended = [min([ended, *self._ended]), max([ended, *self._ended])]
        self._slow = sorted([*self._slow, (seconds, record.task)], reverse=True)[:_LISTED]


def spell_straggler(task: Mapping[str, Any], usual: float) -> str:
    """Say which task takes long, of what, where, and how long others took."""
    node = f" on {task['node']}" if task["node"] else ""
    of = f" of {Path(task['input']).name}" if task["input"] else ""
    return f"{task['task']}{of} runs {spell_seconds(task['seconds'])}{node}, median {spell_seconds(usual)}"
