"""Whether the head of a cluster still answers: a run that lost it ends in words, not in a library's.

Ray ends the process that drives a cluster when its head is gone for long, from another thread and without a
word on resuming. So its address is asked meanwhile, by a thread of its own.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable

from gristmill.errors import EngineError

_EVERY_SECONDS = 3.0
_ASK_SECONDS = 3.0
_LOST_SECONDS = 20.0  # without an answer: Ray itself waits for a minute
_STUCK_SECONDS = 10.0  # within Ray, after the head was lost


class Head:
    """Asks `address` (host:port) until closed; `check` raises EngineError once it has not answered for
    long."""

    def __init__(self, address: str, say: Callable[[str], None] | None = None) -> None:
        self.address = address
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._over = threading.Event()
        self._answered = self._checked = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="head", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        return time.monotonic() - self._answered > _LOST_SECONDS

    def check(self) -> None:
        self._checked = time.monotonic()
        if self.is_lost:
            raise self.error()

    def error(self) -> EngineError:
        return EngineError(
            f"the head of the cluster, {self.address}, has not answered for {_LOST_SECONDS:.0f} s: what is"
            " finished stays finished",
            hint="start the cluster again; the same command resumes",
        )

    def close(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        host, _, port = self.address.rpartition(":")
        while not self._over.wait(_EVERY_SECONDS):
            try:
                socket.create_connection((host, int(port)), _ASK_SECONDS).close()
                self._answered = time.monotonic()
            except OSError:
                pass
            stuck = time.monotonic() - self._checked > _LOST_SECONDS + _STUCK_SECONDS
            if self.is_lost and stuck and not self._over.is_set():
                self._say(f"error: {self.error()}")
                os._exit(1)  # the main thread waits within Ray for what will not come
