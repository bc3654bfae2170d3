"""Small phases in this process, where Ray would take longer to start than their tasks take.

A run of a few megabytes has steps of several tasks, too, such as mixing. Its tasks are run one after another
while nothing says that they are long; the rest goes to Ray, which later phases then use from their start.
"""

from __future__ import annotations

import dataclasses
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.pipeline.run.cluster.attempts import TaskFailure
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.narration.watch import Watch

if TYPE_CHECKING:
    from gristmill.pipeline.run.engine import Engine

SMALL_BYTES = 16 << 20  # of all files that a phase reads
_SMALL_TASKS = 64
_START_SECONDS = 5.0  # of Ray and its first workers, on a machine that does nothing else


class FirstHere:
    """Runs tasks here until what is left of a phase would gain more from side by side than Ray's start
    costs."""

    def __init__(self, here: Engine, many: Callable[[], Engine], num_cpus: int) -> None:
        self.name, self._here, self._many = here.name, here, many
        self._gain = 1 - 1 / num_cpus

    def run(self, folder: Path, phase: Phase, tasks: Sequence[Task], watch: Watch) -> list[TaskFailure]:
        failures: list[TaskFailure] = []
        began = time.monotonic()
        for done, task in enumerate(tasks):
            left = len(tasks) - done
            seconds_left = left * (time.monotonic() - began) / done if done else 0.0
            if left > 1 and self._gain * seconds_left > _START_SECONDS:
                return [*failures, *self._many().run(folder, phase, tasks[done:], watch)]
            failures += self._here.run(folder, phase, [task], watch)
        return failures

    def close(self) -> None:
        pass


def is_small(phase: Phase, tasks: Sequence[Task]) -> bool:
    """Whether all that a phase's tasks read is known and no more than `SMALL_BYTES`.

    What holds a GPU or has something to save when it is interrupted is not small.
    """
    if len(tasks) > _SMALL_TASKS or phase.num_gpus or phase.saves:
        return False
    total, is_known = 0, False
    for size in _sizes([[task.arguments for task in tasks], phase.common]):
        is_known = True
        total += SMALL_BYTES + 1 if size is None else size
        if total > SMALL_BYTES:
            return False
    return is_known


def _sizes(value: Any) -> Iterator[int | None]:
    """The bytes of each range of an input and each file that is named somewhere in a value; None of what lies
    elsewhere or is a folder."""
    if isinstance(value, str | Path):
        text = str(value)
        if "://" in text:
            yield None
        elif "/" in text:
            with suppress(OSError, ValueError):  # a text that names no file: too long for a name, or absent
                status = Path(text).stat()
                yield status.st_size if stat.S_ISREG(status.st_mode) else None
    elif isinstance(value, Mapping):
        yield from _sizes(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _sizes(item)
    elif ranges := getattr(value, "ranges", ()):
        for part in ranges:
            yield None if "://" in part.path else part.end - part.start
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _sizes([getattr(value, field.name) for field in dataclasses.fields(value)])
