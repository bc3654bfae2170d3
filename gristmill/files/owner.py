"""Whose a lock or a scratch folder is: a process, told apart from every other one anywhere.

A host name and a process number do not do that: two containers may share both. An owner is the boot of a
kernel, a PID namespace within it, a process number there, and when that process started.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _place() -> str:
    """The boot of this kernel and the PID namespace that this process sees; the host's name where the system
    does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:18]}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def owner() -> dict[str, Any]:
    """This process, as plain JSON."""
    return {
        "host": socket.gethostname(),
        "place": _place(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def is_mine(holder: Mapping[str, Any]) -> bool:
    own = owner()
    return all(holder.get(name) == own[name] for name in ("place", "pid", "started"))


def is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether a process surely is no more; False where this process cannot see."""
    if holder.get("place") != _place():
        return False
    pid = int(holder["pid"])
    return not _exists(pid) or _started(pid) != holder.get("started")


def tag() -> str:
    """This process as part of a file name; `is_tag_gone` reads it."""
    return f"{_place()}+{os.getpid()}+{_started(os.getpid())}"


def is_tag_gone(name: str) -> bool:
    """Whether the process that a name begins with surely is no more."""
    place, _, rest = name.partition("+")
    pid, _, rest = rest.partition("+")
    started = rest.partition("+")[0]
    if not (pid.isdecimal() and started.isdecimal()):
        return False
    return is_gone({"place": place, "pid": int(pid), "started": int(started)})


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int:
    """When a process started, in ticks since boot; 0 where that is not said."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0
