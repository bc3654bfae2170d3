"""Ctrl-C and SIGTERM: stop at once, in order, and whatever library happens to be running."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gristmill.errors import Interrupted

_received: list[BaseException] = []


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into Interrupted in the main thread, so that every `finally` on the way
    runs; one that something swallowed ends the block all the same."""

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not break the way out
        error = Interrupted(f"stopped by {signal.Signals(number).name}: what is finished stays finished")
        error.exit_code = 128 + number
        _received.append(error)
        raise error

    try:
        old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where nobody could stop us by signal anyway
        old = {}
    try:
        yield
        check()
    finally:
        _received.clear()
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def patience(waits_for: str, at_once: Callable[[], object]) -> Iterator[None]:
    """Wait, on the way out, for something that must not be cut off: say for what, and do `at_once` when
    another signal comes."""
    print(f"stopping: waiting for {waits_for}; Ctrl-C again ends at once", file=sys.stderr, flush=True)
    try:
        old = {
            number: signal.signal(number, lambda *_: at_once()) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def stop_all(error: BaseException) -> None:
    """Let every thread of this run stop at its next `check`."""
    _received.append(error)


def check() -> None:
    """Raise Interrupted again if a signal came and somebody's `except Exception` swallowed it, as Ray's
    start-up does."""
    if _received:
        raise _received[0]
