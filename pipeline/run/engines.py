"""The engines that serve a run, or a command of several: opened when something is to be run, Ray once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from gristmill.pipeline.run.engine import Engine, InlineEngine, RayEngine, open_engine
from gristmill.pipeline.run.first_here import FirstHere, is_small
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.settings import EngineSettings


class Engines:
    """The engines of one run: nothing is started until a phase has work, and Ray is started at most once."""

    def __init__(self, settings: EngineSettings, out: Path, say: Callable[[str], None]) -> None:
        self.settings, self.out, self.say = settings, out, say
        self._open: dict[str, Engine] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def for_phase(self, phase: Phase, tasks: Sequence[Task]) -> Engine:
        """The engine for these tasks of a phase; with `auto` a small one does not start Ray."""
        num_cpus = self.settings.workers or os.cpu_count() or 1
        is_free = self.settings.kind == "auto" and not (
            self.settings.address or os.environ.get("RAY_ADDRESS")
        )
        if is_free and min(num_cpus, len(tasks)) > 1 and "many" not in self._open and is_small(phase, tasks):
            return FirstHere(InlineEngine(self.settings), lambda: self.for_tasks(len(tasks)), num_cpus)
        return self.for_tasks(len(tasks))

    def for_tasks(self, num_tasks: int) -> Engine:
        with self._lock:
            wanted = "many" if num_tasks > 1 or "many" in self._open else "one"
            if wanted not in self._open:
                made = open_engine(self.settings, num_tasks=num_tasks, out=self.out, say=self.say)
                self._open[wanted] = self._stack.enter_context(made)
                if isinstance(self._open[wanted], RayEngine):
                    self._open["many"] = self._open[wanted]
            return self._open[wanted]

    def may_run_steps_beside(self) -> bool:
        """Whether steps can run at the same time: tasks are another machine's, or at least other processes';
        in this process they are not begun for it."""
        asked = self.settings.kind == "ray" or (self.settings.kind == "auto" and bool(self.settings.address))
        if asked:
            self.for_tasks(2)  # here, in the thread that signals come to
        return isinstance(self._open.get("many"), RayEngine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()


@contextmanager
def opened(engine: EngineSettings | Engines, out: Path, say: Callable[[str], None]) -> Iterator[Engines]:
    """Engines by their settings, closed behind the block; those of somebody who has more to run serve it and
    stay open."""
    if isinstance(engine, Engines):
        yield engine
        return
    with Engines(engine, out, say) as engines:
        yield engines
