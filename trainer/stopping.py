"""SIGTERM and SIGINT as a wish to stop, and one run at a time in a folder."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from gristmill.errors import GristmillError, LockedError
from gristmill.lock import hold_lock
from gristmill.trainer.ranks.parallel import Group


class Signals:
    """Remember SIGTERM and SIGINT instead of dying of them; a second one does what it always did."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        try:
            self._before = {
                number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)
            }
        except ValueError:  # not the main thread: whoever runs us handles signals
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._before[number])


@contextlib.contextmanager
def only_run(folder: Path, group: Group) -> Iterator[None]:
    """Hold the run folder for the ranks of one run; rank 0 takes the lock, all learn of a refusal."""
    with contextlib.ExitStack() as held:
        refused: GristmillError | None = None
        if group.rank == 0:
            try:
                held.enter_context(hold_lock(folder))
            except LockedError as error:
                refused = error
            except OSError as error:  # a file system without locks
                sys.stderr.write(f"train: {folder} cannot be locked ({error}): start no second run in it\n")
        if group.any(refused is not None):
            raise refused or LockedError(f"`{folder}` is in use by another run")
        yield
