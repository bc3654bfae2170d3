"""What Linux says of a running process; elsewhere nothing is known."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds; 0 where that is not said."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def run_delay_seconds(pid: int) -> float:
    """Return how long a process has been ready to run without getting a CPU; 0 where the kernel does not
    say."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[1]) * 1e-9
    except (OSError, IndexError):
        return 0.0
