"""Run the tasks of a phase: in this process, or on Ray. The only module that imports ray.

Both engines keep one contract: they call `gristmill.pipeline.run.job.attempt` for each task, try again with a
growing pause when it raises, and hand back a Failure for a task that would not succeed. Neither moves data: a
task returns the path of its record. Settings here never touch the bytes of an output.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gristmill
from gristmill.errors import EngineError, GristmillError, Interrupted, StaleError, UsageError
from gristmill.location import Roots, roots, use_storage
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.job import Phase, Task, attempt, function_name
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.storage import write_atomic

_OBJECT_STORE_BYTES = (
    100 << 20
)  # tasks return a path: the default of 30 % of memory would be taken for nothing
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A task that failed on every attempt, with the traceback of the last."""

    task: Task
    error: str
    traceback: str
    hint: str | None = None


OnDone = Callable[[Task], None]


class Engine(Protocol):
    name: str

    def run(
        self, folder: Path, phase: Phase, tasks: Sequence[Task], on_done: OnDone
    ) -> list[TaskFailure]: ...

    def check_shared(self, out: Path) -> None:
        """Raise UsageError unless every worker sees the files in `out`."""

    def close(self) -> None: ...


class InlineEngine:
    """Run tasks one after another in this process: for tests, debugging and small inputs."""

    name = "inline"

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings

    def run(self, folder: Path, phase: Phase, tasks: Sequence[Task], on_done: OnDone) -> list[TaskFailure]:
        failures = []
        for task in tasks:
            signals.check()
            failure = self._run_task(folder, phase, task)
            if failure:
                failures.append(failure)
            on_done(task)
        return failures

    def _run_task(self, folder: Path, phase: Phase, task: Task) -> TaskFailure | None:
        for number in range(self.settings.retries + 1):
            try:
                named = (folder, phase.name, task.key, function_name(task.function), task.arguments)
                attempt(*named, phase.shared, None, task.checks)
                return None
            except (Interrupted, UsageError, StaleError):
                raise
            except Exception as error:
                if number == self.settings.retries:
                    return TaskFailure(
                        task, _first_line(error), traceback.format_exc(), getattr(error, "hint", None)
                    )
                time.sleep(self.settings.retry_seconds * 2**number)
        raise AssertionError("the loop returns")

    def check_shared(self, out: Path) -> None:
        pass

    def close(self) -> None:
        pass


class RayEngine:
    """Run tasks on Ray Core with a bounded number in flight."""

    name = "ray"

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray = ray
        self._owns = not ray.is_initialized()
        if self._owns:
            _share_import_path()
            with _own_signal_handlers():
                _start(ray, _init_arguments(settings))
        self.window = settings.window or 2 * int(ray.cluster_resources().get("CPU", 1)) + 2

    def run(self, folder: Path, phase: Phase, tasks: Sequence[Task], on_done: OnDone) -> list[TaskFailure]:
        most = self._check_fits(phase)
        remote = self._ray.remote(attempt).options(
            num_cpus=min(phase.num_cpus or most, most),
            memory=phase.memory_bytes,
            max_retries=3,  # of a worker or node that died; what a task raises is retried below
            name=f"{folder.name}:{phase.name}",
        )
        shared = self._ray.put(phase.shared)
        running: dict[Any, tuple[Task, int]] = {}
        waiting = [
            (0.0, task, 0) for task in reversed(tasks)
        ]  # (not before, task, attempts so far); the next one is last
        failures: list[TaskFailure] = []
        try:
            while waiting or running:
                signals.check()
                self._submit(remote, folder, phase, shared, waiting, running)
                for reference in self._wait(list(running)):
                    task, number = running.pop(reference)
                    failure = self._outcome(reference, task)
                    if failure and number < self.settings.retries:
                        waiting.append(
                            (time.monotonic() + self.settings.retry_seconds * 2**number, task, number + 1)
                        )
                        continue
                    if failure:
                        failures.append(failure)
                    on_done(task)
        finally:
            if running:
                self._cancel(list(running), phase)
        return failures

    def _cancel(self, references: Sequence[Any], phase: Phase) -> None:
        """End tasks: at once (without force, extractor children would live on), or after they have saved."""

        def cancel(*, force: bool) -> None:
            for reference in references:
                with contextlib.suppress(Exception):
                    self._ray.cancel(reference, force=force)

        if not phase.saves:
            cancel(force=True)
            return
        cancel(force=False)
        with signals.patience("the task to save what it has", lambda: cancel(force=True)):
            while len(self._ray.wait(list(references), num_returns=len(references), timeout=1)[1]):
                pass

    def _check_fits(self, phase: Phase) -> float:
        """Return the CPUs of the largest node; a task that no node can hold would wait for ever, so it is
        refused."""
        nodes = [node["Resources"] for node in self._nodes()]
        memory = max(node.get("memory", 0) for node in nodes)
        if phase.memory_bytes and phase.memory_bytes > memory:
            raise UsageError(
                f"a task of phase `{phase.name}` is to hold {phase.memory_bytes:,} bytes, the largest node"
                f" offers {memory:,.0f}",
                hint=(
                    "lower `memory_bytes` of its stage in `engine.stages`, or start Ray's nodes with more"
                    " `--memory`"
                ),
            )
        return float(max(node.get("CPU", 1) for node in nodes))

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def check_shared(self, out: Path) -> None:
        nodes = self._nodes()
        if len(nodes) < 2:
            return
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe = out / f".probe-{secrets.token_hex(6)}"
        write_atomic(probe, b"seen")
        try:
            look = self._ray.remote(_sees)
            strategies = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
            asked = [
                look.options(num_cpus=0, scheduling_strategy=strategy).remote(probe, roots())
                for strategy in strategies
            ]
            seen = [self._answer(reference) for reference in asked]
        finally:
            probe.unlink()
        blind = [node["NodeManagerAddress"] for node, sees in zip(nodes, seen, strict=True) if not sees]
        if blind:
            raise UsageError(
                f"`{out}` is not shared: {len(blind)} of {len(nodes)} nodes cannot see it"
                f" ({', '.join(blind[:3])})",
                hint="name an `--out` on a file system that all nodes mount at the same path",
            )

    def _answer(self, reference: Any) -> bool:
        try:
            return bool(self._ray.get(reference))
        except self._ray.exceptions.RayError:
            return True  # the node left meanwhile; its tasks go elsewhere

    def _submit(
        self,
        remote: Any,
        folder: Path,
        phase: Phase,
        shared: Any,
        waiting: list[Any],
        running: dict[Any, tuple[Task, int]],
    ) -> None:
        now = time.monotonic()
        for position in range(len(waiting) - 1, -1, -1):
            if len(running) >= (phase.window or self.window):
                return
            not_before, task, number = waiting[position]
            if not_before <= now:
                del waiting[position]
                named = (folder, phase.name, task.key, function_name(task.function), dict(task.arguments))
                reference = remote.remote(*named, shared, roots(), task.checks)
                running[reference] = (task, number)

    def _wait(self, references: list[Any]) -> list[Any]:
        """Return those that finished within a moment; what a signal handler raises meanwhile Ray wraps in a
        SystemError."""
        if not references:
            time.sleep(_POLL_SECONDS)
            return []
        try:
            return list(self._ray.wait(references, num_returns=1, timeout=_POLL_SECONDS)[0])
        except SystemError as error:
            if isinstance(error.__cause__, Interrupted):
                raise error.__cause__ from None
            raise

    def _outcome(self, reference: Any, task: Task) -> TaskFailure | None:
        try:
            self._ray.get(reference)
        except Exception as error:
            # Ray wraps what a task raised and keeps the original as `cause`; a lost worker has none.
            cause = getattr(error, "cause", None) or error
            if isinstance(cause, (UsageError, StaleError, Interrupted)):
                raise cause from None
            return TaskFailure(task, _first_line(cause), str(error), getattr(cause, "hint", None))
        return None

    def close(self) -> None:
        if self._owns:
            self._ray.shutdown()


@contextlib.contextmanager
def open_engine(settings: EngineSettings, *, num_tasks: int) -> Iterator[Engine]:
    """Open the engine the settings ask for; `auto` takes Ray only where it can run things side by side."""
    kind = settings.kind
    if kind == "auto":
        cluster = settings.address or os.environ.get("RAY_ADDRESS")
        kind = (
            "ray"
            if cluster or (num_tasks > 1 and (settings.workers or os.cpu_count() or 1) > 1)
            else "inline"
        )
    engine: Engine = RayEngine(settings) if kind == "ray" else InlineEngine(settings)
    try:
        yield engine
    finally:
        engine.close()


def _start(ray: Any, arguments: dict[str, Any]) -> None:
    """Start or join Ray. A node of one's own gets three tries: Ray gives it 30 s, too few on a machine under
    heavy load."""
    own = arguments["address"] == "local"
    tries = 3 if own else 1
    for number in range(1, tries + 1):
        try:
            ray.init(**arguments)
            return
        except Interrupted:
            raise
        except Exception as error:
            ray.shutdown()
            if number == tries:
                hint = (
                    "run without it: `--engine inline`"
                    if own
                    else "is a cluster up there? Without `--address` one starts here"
                )
                said = "start on this machine" if own else f"answer at `{arguments['address']}`"
                raise EngineError(f"Ray did not {said}: {_first_line(error)}", hint=hint) from error


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


def run_ranks(settings: EngineSettings, command: Sequence[str], ranks: int, *, use_gpus: bool) -> int:
    """Run a Python command once per rank of a torch process group, each on a CPU or a GPU of the cluster.

    Returns 0 or the first other exit code; when one rank ends badly, or this call is interrupted, all are
    stopped.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    engine = RayEngine(settings)
    bundle: dict[str, float] = {"CPU": 1, **({"GPU": 1} if use_gpus else {})}
    group = placement_group([bundle] * ranks, strategy="PACK")
    running: list[Any] = []
    try:
        ray.get(group.ready())
        places = [
            PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
            for rank in range(ranks)
        ]
        need = {"num_cpus": 1, "num_gpus": 1 if use_gpus else 0, "max_retries": 0}
        meeting = ray.get(ray.remote(_meeting_point).options(scheduling_strategy=places[0], **need).remote())
        remote = ray.remote(_run_rank)
        running = [
            remote.options(scheduling_strategy=place, **need).remote(list(command), rank, ranks, *meeting)
            for rank, place in enumerate(places)
        ]
        while running:
            ready, running = ray.wait(running, num_returns=1)
            if code := int(ray.get(ready[0])):
                return code
        return 0
    finally:
        for reference in running:
            ray.cancel(reference)  # raises in the task, which lets its process save and leave
        if running:
            ray.wait(running, num_returns=len(running), timeout=30)
        remove_placement_group(group)
        engine.close()


def _meeting_point() -> tuple[str, int]:
    import ray

    from gristmill.trainer.launch import free_port

    return ray.util.get_node_ip_address(), free_port()


def _run_rank(command: list[str], rank: int, ranks: int, address: str, port: int) -> int:
    from gristmill.trainer.launch import rank_environment

    # Ray shows a task only its own GPU, so that is number 0 here.
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **rank_environment(rank, ranks, 0, address, port)}
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait(timeout=30)
        raise


def inside_job() -> bool:
    """Whether this process was started by `ray job submit`: its working folder is a copy that is thrown
    away."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def _sees(path: Path, storage: Roots) -> bool:
    for root, settings in storage:
        use_storage(root, settings)
    return path.exists()


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


def _share_import_path() -> None:
    """Let workers on this machine import what this process imports, also from a checkout that is not
    installed."""
    here = str(Path(gristmill.__file__).resolve().parent.parent)
    paths = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))


def _first_line(error: BaseException) -> str:
    message = error.message if isinstance(error, GristmillError) else f"{type(error).__name__}: {error}"
    return message.splitlines()[0] if message else type(error).__name__
