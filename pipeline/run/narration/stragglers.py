"""Tasks that took far longer than the others of their phase: one rule for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

STRAGGLES = 2.0  # times the phase's median
_LEAST_SECONDS = 1.0
_LEAST_TASKS = 3  # of fewer, none is unusual


def usual_seconds(seconds: Sequence[float]) -> float:
    """The median of what tasks took, 0 of none."""
    return median(seconds) if seconds else 0.0


def straggles(seconds: float, usual: float, num_tasks: int) -> bool:
    """Whether a task took far longer than is usual for its phase."""
    return num_tasks >= _LEAST_TASKS and seconds > max(_LEAST_SECONDS, STRAGGLES * usual)
