"""Run the tasks of a phase: in this process, or on Ray. The only module that imports ray.

Both engines keep one contract: they call `gristmill.pipeline.run.attempt.attempt` for each task, try again
with a growing pause when it fails, tell a `Watch` the record of each that ended, opened by the name its task
returned, and hand back a TaskFailure for a task that would not succeed. Neither moves data. Settings never
touch the bytes of an output.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from gristmill.files.location import location
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.attempt import attempt
from gristmill.pipeline.run.cluster import ranks, starting
from gristmill.pipeline.run.cluster.attempts import (
    Attempted,
    Pending,
    TaskFailure,
    first_line,
    hint_of,
    input_names,
)
from gristmill.pipeline.run.cluster.confirm import wait_for
from gristmill.pipeline.run.cluster.nodes import inside_job
from gristmill.pipeline.run.cluster.on_ray import RayEngine
from gristmill.pipeline.run.cluster.worker import FATAL, is_in_vain
from gristmill.pipeline.run.job import Phase, Task, function_name
from gristmill.pipeline.run.narration.watch import AtWork, Watch
from gristmill.pipeline.run.settings import EngineSettings

__all__ = ["Engine", "InlineEngine", "RayEngine", "inside_job", "open_engine", "run_ranks", "start_ray"]


class Engine(Protocol):
    name: str

    def run(self, folder: Path, phase: Phase, tasks: Sequence[Task], watch: Watch) -> list[TaskFailure]: ...

    def close(self) -> None: ...


class InlineEngine:
    """Run tasks one after another in this process: for tests, debugging and small inputs."""

    name = "inline"

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings

    def run(self, folder: Path, phase: Phase, tasks: Sequence[Task], watch: Watch) -> list[TaskFailure]:
        failures = []
        for task in tasks:
            signals.check()
            watch.at_work([AtWork(task.key, "", next(input_names(task.arguments), ""), 0.0)])
            failure = self._run_task(folder, phase, task, watch)
            if failure:
                failures.append(failure)
        return failures

    def _run_task(self, folder: Path, phase: Phase, task: Task, watch: Watch) -> TaskFailure | None:
        pending = Pending(task)
        for number in range(self.settings.retries + 1):
            began = time.monotonic()
            try:
                named = (folder, phase.name, task.key, function_name(task.function), task.arguments)
                done = attempt(*named, phase.shared, None, task.checks)
                watch.ended(wait_for(location(done.path), done.digest, self.settings.record_seconds))
                return None
            except FATAL:
                raise
            except BaseException as error:
                if not is_of_task(error):
                    raise
                signals.check()  # own code's failure may be what a Ctrl-C in it became
                spelled, hint = traceback.format_exc(), hint_of(error)
                seconds = time.monotonic() - began
                pending.attempts.append(
                    Attempted(first_line(error), spelled, hint, pid=os.getpid(), seconds=seconds)
                )
                if is_in_vain(error):
                    break
            if number < self.settings.retries:
                time.sleep(self.settings.retry_seconds * 2**number)
        watch.ended(None)
        return TaskFailure(task, tuple(pending.attempts))

    def close(self) -> None:
        pass


def is_of_task(error: BaseException) -> bool:
    """Whether an exception is a task's failure. So is `sys.exit` of its own code, which would end this
    process as if all were done, and a panic of Rust code; on Ray both end a worker, which is one, too."""
    return isinstance(error, Exception | SystemExit) or type(error).__name__ == "PanicException"


@contextlib.contextmanager
def open_engine(
    settings: EngineSettings,
    *,
    num_tasks: int,
    out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Engine]:
    """Open the engine the settings ask for; `auto` takes Ray only where it can run things side by side.

    `out` is the output folder that every node must see; `say` tells a person of nodes that do not.
    """
    kind = settings.kind
    if kind == "auto":
        cluster = settings.address or os.environ.get("RAY_ADDRESS")
        kind = (
            "ray"
            if cluster or (num_tasks > 1 and (settings.workers or os.cpu_count() or 1) > 1)
            else "inline"
        )
    engine: Engine = start_ray(settings, out, say) if kind == "ray" else InlineEngine(settings)
    try:
        yield engine
    finally:
        engine.close()


def start_ray(
    settings: EngineSettings, out: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> RayEngine:
    """Start Ray on this machine or join a cluster, unless this process has done so already; `say` tells a
    person who waits for it."""
    starting.set_environment(settings)
    import ray

    owns = not ray.is_initialized()
    if owns:
        starting.start(ray, settings, say)
    return RayEngine(ray, settings, out, say, owns=owns)


def run_ranks(
    settings: EngineSettings,
    command: Sequence[str],
    num_ranks: int,
    *,
    use_gpus: bool,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Run a Python command once per rank of a torch process group, each on a CPU or a GPU of the cluster.

    Returns 0 or the first other exit code; when one rank ends badly, or this call is interrupted, all are
    stopped. A node that is lost has them started again, `settings.retries` times.
    """
    import ray

    engine = start_ray(settings, say=say)
    try:
        return ranks.run_ranks(ray, settings, command, num_ranks, use_gpus=use_gpus)
    finally:
        engine.close()
