"""What the tasks of a phase cost: their number, sum, median and peak, and the longest of them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Self

from gristmill.files.sealed import whole
from gristmill.manifest import TaskRecord
from gristmill.pipeline.run.narration.stragglers import straggles

LONGEST = 20  # tasks that are named


@dataclass(frozen=True, slots=True)
class TaskTime:
    """What one shard cost."""

    phase: str
    task: str
    seconds: float
    peak_bytes: float
    items: int
    bytes: int
    profile: Mapping[str, float] = field(default_factory=dict)  # CPU seconds by kind, where it was asked for

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        books, timing = record.books, record.timing
        return cls(
            record.phase,
            record.task,
            float(timing.get("seconds", 0.0)),
            float(timing.get("peak_bytes", 0.0)),
            books.items_in if books else 0,
            books.bytes_in if books else 0,
            {kind: float(seconds) for kind, seconds in timing.get("profile", {}).items()},
        )


@dataclass(slots=True)
class PhaseTimes:
    """Times of a phase's tasks: eight bytes for each while they are added, none in what is kept."""

    phase: str
    num: int = 0
    work_seconds: float = 0.0
    peak_bytes: float = 0.0
    longest: list[TaskTime] = field(default_factory=list)  # the longest first
    profile: dict[str, float] = field(default_factory=dict)  # CPU seconds by kind, of profiled tasks
    _seconds: array[float] = field(default_factory=lambda: array("d"))
    _told: tuple[float, int] | None = None  # median and stragglers, as a summary has them

    def add(self, task: TaskTime) -> None:
        self.num += 1
        self.work_seconds += task.seconds
        self.peak_bytes = max(self.peak_bytes, task.peak_bytes)
        self._seconds.append(task.seconds)
        for kind, seconds in task.profile.items():
            self.profile[kind] = self.profile.get(kind, 0.0) + seconds
        if len(self.longest) < LONGEST or task.seconds >= self.longest[-1].seconds:
            self.longest = sorted([*self.longest, task], key=lambda one: (-one.seconds, one.task))[:LONGEST]

    @property
    def usual(self) -> float:
        """The median."""
        return self._told[0] if self._told else median(self._seconds) if self._seconds else 0.0

    @property
    def num_stragglers(self) -> int:
        if self._told:
            return self._told[1]
        usual = self.usual
        return sum(straggles(seconds, usual, self.num) for seconds in self._seconds)

    @property
    def stragglers(self) -> list[TaskTime]:
        """Those of the longest that took far longer than is usual; the longest first."""
        usual = self.usual
        return [task for task in self.longest if straggles(task.seconds, usual, self.num)]

    def as_json(self) -> dict[str, Any]:
        longest = [asdict(one) for one in self.longest]
        return {
            "num": self.num,
            "work_seconds": round(self.work_seconds, 3),
            "peak_bytes": self.peak_bytes,
            "median_seconds": round(self.usual, 3),
            "stragglers": self.num_stragglers,
            "longest": longest,
            "profile": {kind: round(seconds, 3) for kind, seconds in sorted(self.profile.items())},
        }

    @classmethod
    def of(cls, phase: str, told: Mapping[str, Any]) -> Self:
        longest = [TaskTime(**one) for one in told["longest"]]
        profile = {kind: float(seconds) for kind, seconds in told.get("profile", {}).items()}
        work, peak = float(told["work_seconds"]), float(told["peak_bytes"])
        times = cls(phase, whole(told["num"], "num"), work, peak, longest, profile)
        times._told = float(told["median_seconds"]), whole(told["stragglers"], "stragglers")
        return times
