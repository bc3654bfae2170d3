"""Whether the head of a cluster and Ray's process on this machine still answer: a run that lost one ends in
words, not in a library's.

Ray ends the process that drives a cluster when its head is gone for long, or its own machine's raylet for
some ten seconds, from another thread and without a word on resuming. So both are asked meanwhile, by a thread
of its own.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable

from gristmill.errors import EngineError

_EVERY_SECONDS = 1.0
_ASK_SECONDS = 3.0
_LOST_SECONDS = 20.0  # without an answer: Ray itself waits for a minute
_STUCK_SECONDS = 10.0  # within Ray, after the head was lost
_RAYLET_STUCK_SECONDS = 3.0  # after the raylet was: Ray waits for no more than ten
_REFUSALS = 2  # in a row, of a port on this machine: a busy process does not refuse


class Head:
    """Asks `address` and this machine's `raylet` (host:port) until closed; `check` raises EngineError once
    the one has not answered for long, or the other's port is closed. `own`: this process has started both."""

    def __init__(
        self,
        address: str,
        say: Callable[[str], None] | None = None,
        raylet: str = "",
        *,
        own: bool = False,
    ) -> None:
        self.address, self.raylet, self._own = address, raylet, own
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._over = threading.Event()
        self._answered = self._checked = time.monotonic()
        self._refused = 0
        self._head_is_silent = False
        self._thread = threading.Thread(target=self._watch, name="head", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        return self._has_no_raylet or time.monotonic() - self._answered > _LOST_SECONDS

    @property
    def _has_no_raylet(self) -> bool:
        return self._refused >= _REFUSALS

    def check(self, *, now: bool = False) -> None:
        """Raise EngineError for what was lost; `now`: the raylet is asked before, for Ray has just failed."""
        self._checked = time.monotonic()
        if now:
            self._ask_head()
            for _ in range(_REFUSALS):
                self._ask_raylet()
        if self.is_lost:
            raise self.error()

    def error(self) -> EngineError:
        kept = "what is finished stays finished"
        if self._has_no_raylet and self._head_is_silent:
            return EngineError(
                f"the head of the cluster, {self.address}, does not answer, and this machine's raylet has"
                f" ended: {kept}",
                hint=f"{'' if self._own else 'start the cluster again; '}the same command resumes",
            )
        if self._has_no_raylet:
            again = "" if self._own else "start this machine's Ray again (`ray stop`, `ray start`); "
            return EngineError(
                f"Ray's process on this machine, the raylet at {self.raylet}, has ended, and with it what ran"
                f" here: {kept}",
                hint=f"{again}the same command resumes; why it ended says `raylet.out` or `raylet.err` in"
                " /tmp/ray/session_latest/logs, or the kernel's log where memory ran out",
            )
        return EngineError(
            f"the head of the cluster, {self.address}, has not answered for {_LOST_SECONDS:.0f} s: {kept}",
            hint=f"{'' if self._own else 'start the cluster again; '}the same command resumes",
        )

    def close(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self._ask_head()
            self._ask_raylet()
            patience = _RAYLET_STUCK_SECONDS if self._has_no_raylet else _LOST_SECONDS + _STUCK_SECONDS
            stuck = time.monotonic() - self._checked > patience
            if self.is_lost and stuck and not self._over.is_set():
                self._say(f"error: {self.error()}")
                os._exit(1)  # the main thread waits within Ray for what will not come

    def _ask_head(self) -> None:
        self._head_is_silent = not _answer(self.address)
        if not self._head_is_silent:
            self._answered = time.monotonic()

    def _ask_raylet(self) -> None:
        if self.raylet:
            self._refused = self._refused + 1 if _answer(self.raylet) is False else 0


def _answer(address: str) -> bool | None:
    """Whether somebody listens there; False where the machine says that nobody does, None where it says
    nothing."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ASK_SECONDS).close()
        return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return None
