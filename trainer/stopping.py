"""SIGTERM and SIGINT as a wish to stop, and one run at a time in a folder."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from gristmill.errors import GristmillError, Interrupted, LockedError
from gristmill.files.lock import hold_lock
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

    def interrupted(self, step: int, steps: int, run: str) -> Interrupted:
        """Return the error that ends a run whose checkpoint is saved; its exit code is the signal's."""
        number = self.received or signal.SIGTERM  # another rank's, when this one received none
        error = Interrupted(
            f"training stopped by {signal.Signals(number).name} after step {step} of {steps};"
            " a checkpoint is saved",
            where=run, hint="the same command continues from there",
        )  # fmt: skip
        error.exit_code = 128 + number
        return error

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._before[number])


class Votes:
    """The wish to stop of any rank, agreed without waiting: each step's sum of losses carries it."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self._cast: list[Callable[[], float]] = []

    def cast(self, summed: Tensor) -> None:
        """Take a step's count of ranks that want to stop, still on the device."""
        if self.group.world > 1:
            self._cast.append(self.group.later(summed))

    def carried(self, own: bool) -> bool:
        """Say whether all ranks know that one wants to stop: alone at once, else one step later."""
        if self.group.world == 1:
            return own
        return len(self._cast) > 1 and self._cast.pop(0)() > 0


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
