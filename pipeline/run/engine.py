"""Run the tasks of a phase: in this process, or on Ray. The only module that imports ray.

Both engines keep one contract: they call `gristmill.pipeline.run.attempt.attempt` for each task, try again
with a growing pause when it fails, tell a `Watch` the record of each that ended, opened by the name its task
returned, and hand back a TaskFailure for a task that would not succeed. Neither moves data. Settings never
touch the bytes of an output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import gristmill
from gristmill.errors import EngineError, Interrupted
from gristmill.location import location
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.attempt import attempt
from gristmill.pipeline.run.cluster import ranks
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

_OBJECT_STORE_BYTES = (
    100 << 20
)  # tasks return a path: the default of 30 % of memory would be taken for nothing


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
            except Exception as error:
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
    """Start Ray on this machine or join a cluster, unless this process has done so already."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    owns = not ray.is_initialized()
    if owns:
        _share_import_path()
        with _own_signal_handlers(), _quiet_raylets(ray):
            _start(ray, _init_arguments(settings))
    return RayEngine(ray, settings, out, say, owns=owns)


_REFUSALS = ("InvalidAuthToken", "Unauthenticated", "AuthenticationError")
TOKEN_HINT = (
    "say RAY_AUTH_MODE=token on both sides, with the head's ~/.ray/auth_token in RAY_AUTH_TOKEN; or start"
    " every node with RAY_AUTH_MODE=disabled where only you reach its ports"
)


@contextlib.contextmanager
def _standard_error(heard: bytearray) -> Iterator[None]:
    """Hold back what Ray's own libraries write to standard error, and hand it over: they do not raise it."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            heard += file.read()


def _start(ray: Any, arguments: dict[str, Any]) -> None:
    """Start or join Ray. A node of one's own gets three tries: Ray gives it 30 s, too few on a machine under
    heavy load."""
    own = arguments["address"] == "local"
    tries = 3 if own else 1
    for number in range(1, tries + 1):
        heard = bytearray()
        try:
            with contextlib.nullcontext() if own else _standard_error(heard):
                ray.init(**arguments)
            return
        except Interrupted:
            raise
        except Exception as error:
            ray.shutdown()
            if any(word in f"{heard.decode('utf-8', 'replace')} {error}" for word in _REFUSALS):
                raise EngineError(
                    f"the cluster at `{arguments['address']}` wants a token, and ours is not it",
                    hint=TOKEN_HINT,
                ) from None
            if number == tries:
                hint = (
                    "run without it: `--engine inline`"
                    if own
                    else "is a cluster up there? Without `--address` one starts here"
                )
                said = "start on this machine" if own else f"answer at `{arguments['address']}`"
                raise EngineError(f"Ray did not {said}: {first_line(error)}", hint=hint) from error


def _init_arguments(settings: EngineSettings) -> dict[str, Any]:
    address = settings.address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address:
        return {"address": address, **quiet}
    return {
        "address": "local",
        "num_cpus": settings.workers,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
        **quiet,
    }


def run_ranks(settings: EngineSettings, command: Sequence[str], num_ranks: int, *, use_gpus: bool) -> int:
    """Run a Python command once per rank of a torch process group, each on a CPU or a GPU of the cluster.

    Returns 0 or the first other exit code; when one rank ends badly, or this call is interrupted, all are
    stopped. A node that is lost has them started again, `settings.retries` times.
    """
    import ray

    engine = start_ray(settings)
    try:
        return ranks.run_ranks(ray, settings, command, num_ranks, use_gpus=use_gpus)
    finally:
        engine.close()


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Put SIGINT and SIGTERM back to what they did: Ray takes them, and its own end the driver without a word
    on resuming."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet_raylets(ray: Any) -> Iterator[None]:
    """Keep the paragraphs off the terminal that Ray prints about each worker that died: the engine says which
    task it was, on which node. Ray asks for its listener once, when it starts."""
    worker = getattr(getattr(ray, "_private", None), "worker", None)
    listener = getattr(worker, "listen_error_messages", None)
    if listener is None:
        yield
        return
    worker.listen_error_messages = lambda *_: None  # type: ignore[union-attr]
    try:
        yield
    finally:
        worker.listen_error_messages = listener  # type: ignore[union-attr]


def _share_import_path() -> None:
    """Let workers on this machine import what this process imports, also from a checkout that is not
    installed."""
    here = str(Path(gristmill.__file__).resolve().parent.parent)
    paths = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
