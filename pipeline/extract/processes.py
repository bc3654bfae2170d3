"""What Linux says of a running process; elsewhere nothing is known."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds; 0 where that is not said."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


@dataclass(frozen=True, slots=True)
class Activity:
    """CPU seconds that a process has used in all its threads, and whether it sleeps: not ready, not stopped,
    not waiting for a disk."""

    cpu_seconds: float
    sleeps: bool


def activity(pid: int) -> Activity | None:
    """Return what a process does; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):
        return None
    return Activity(ticks / os.sysconf("SC_CLK_TCK"), fields[0] == b"S")
