import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gristmill.errors import EngineError, InputError, Interrupted, StepFailed, UsageError
from gristmill.manifest import read_manifest
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run import engine, engines, execute, signals
from gristmill.pipeline.run.cluster import starting
from gristmill.pipeline.run.cluster.attempts import Attempted, TaskFailure
from gristmill.pipeline.run.engine import RayEngine
from gristmill.pipeline.run.folder import read_run
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.narration.watch import Watch
from gristmill.pipeline.run.runner import Plan, run_plan, states
from gristmill.pipeline.run.settings import EngineSettings
from tests.support.toy_stage import INLINE, QUIET, plan


def test_a_second_run_reuses_every_step_and_a_changed_setting_names_itself(tmp_path: Path) -> None:
    first = run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    assert first.ran == ["toy/a"] and first.manifests["toy/a"].extra["total"] == 14
    second = run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    assert (second.ran, second.reused) == ([], ["toy/a"])
    (state,) = states(plan(numbers=(1, 2)), tmp_path / "out")
    assert (state.state, state.because) == ("stale", "changed: settings.numbers")
    assert read_run(tmp_path / "out")["complete"]


def test_a_task_that_fails_once_is_tried_again(tmp_path: Path) -> None:
    result = run_plan(plan(flaky=str(tmp_path / "flag")), tmp_path / "out", INLINE, QUIET)
    assert result.manifests["toy/a"].extra["total"] == 14


def test_a_poison_shard_fails_the_step_at_the_end_and_the_rest_stays_done(tmp_path: Path) -> None:
    with pytest.raises(
        StepFailed,
        match=r"1 shard failed on every attempt, 0 are allowed\n  shard 00001: ValueError: cannot square 2",
    ):
        run_plan(plan(poison=2), tmp_path / "out", INLINE, QUIET)
    (folder,) = (tmp_path / "out" / "steps").iterdir()
    assert sorted(path.name for path in (folder / "records" / "map").iterdir()) == [
        "00000.json",
        "00002.json",
    ]
    assert "ValueError" in (folder / "quarantine" / "map-00001.txt").read_text()
    assert not (folder / "manifest.json").exists()


def test_an_allowed_loss_is_named_in_the_manifest(tmp_path: Path) -> None:
    result = run_plan(plan(1, poison=2), tmp_path / "out", INLINE, QUIET)
    manifest = result.manifests["toy/a"]
    lost = {"phase": "map", "task": "00001", "inputs": [], "documents": None}
    assert manifest.extra == {"total": 10, "lost": [lost]} and result.incomplete == ["toy/a"]
    assert manifest.timing["lost"] == {"map 00001": "ValueError: cannot square 2"}


def test_the_next_run_tries_lost_tasks_again_and_ends_as_if_none_had_been_lost(tmp_path: Path) -> None:
    fault, starts = tmp_path / "fault", tmp_path / "starts"
    fault.touch()
    starts.mkdir()
    settings = {"fault": str(fault), "starts": str(starts)}
    lossy = run_plan(plan(1, **settings), tmp_path / "out", INLINE, QUIET)
    assert lossy.manifests["toy/a"].extra["total"] == 13
    (state,) = states(plan(**settings), tmp_path / "out")
    assert (state.state, state.because) == ("incomplete", "lost 1 task (map 00000)")
    assert [finding.problem for finding in verify(tmp_path / "out")] == [
        "is incomplete: lost 1 task (map 00000)"
    ]
    fault.unlink()
    before = len(list(starts.iterdir()))
    healed = run_plan(plan(**settings), tmp_path / "out", INLINE, QUIET)
    assert healed.ran == ["toy/a"] and len(list(starts.iterdir())) == before + 1
    fresh = run_plan(plan(**settings), tmp_path / "fresh", INLINE, QUIET)
    assert healed.manifests["toy/a"].content_digest == fresh.manifests["toy/a"].content_digest
    assert lossy.manifests["toy/a"].content_digest != fresh.manifests["toy/a"].content_digest
    assert list(verify(tmp_path / "out")) == []
    assert not list(healed.manifests["toy/a"].folder.glob("quarantine/*"))
    assert read_run(tmp_path / "out")["complete"]


def test_what_fails_again_stays_lost_only_where_that_is_still_allowed(tmp_path: Path) -> None:
    settings = {"poison": 2}
    first = run_plan(plan(1, **settings), tmp_path / "out", INLINE, QUIET)
    again = run_plan(plan(1, **settings), tmp_path / "out", INLINE, QUIET)
    assert again.manifests["toy/a"].content_digest == first.manifests["toy/a"].content_digest
    with pytest.raises(StepFailed, match=r"0 are allowed"):
        run_plan(plan(**settings), tmp_path / "out", INLINE, QUIET)
    assert not read_run(tmp_path / "out")["complete"]
    assert states(plan(**settings), tmp_path / "out")[0].state == "to run"


def test_a_task_that_the_whole_step_needs_cannot_be_lost(tmp_path: Path) -> None:
    with pytest.raises(
        StepFailed, match=r"1 shard failed on every attempt, and the step needs all of them"
    ) as failed:
        run_plan(plan(9, fails=True), tmp_path / "out", INLINE, QUIET)
    assert "cannot add" in str(failed.value) and "quarantined_shards" not in str(failed.value)


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    with pytest.raises(UsageError, match="run of another recipe, `toy`, not `other`"):
        run_plan(Plan("other", 1, [], {}), tmp_path / "out", INLINE, QUIET)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not empty and not an output of gristmill"):
        run_plan(plan(), tmp_path / "mine", INLINE, QUIET)


def test_ray_gives_the_same_manifest_as_the_inline_engine_even_when_a_worker_is_killed(
    tmp_path: Path,
) -> None:
    settings = {"numbers": tuple(range(12)), "kill": str(tmp_path / "flag")}
    ray = run_plan(
        plan(**settings), tmp_path / "ray", EngineSettings(kind="ray", workers=2), QUIET
    ).manifests["toy/a"]
    assert (tmp_path / "flag").exists()
    inline = run_plan(plan(**settings), tmp_path / "inline", INLINE, QUIET).manifests["toy/a"]
    assert ray.content_digest == inline.content_digest
    assert read_manifest(ray.folder).files == inline.files


@pytest.mark.slow
def test_a_shard_that_kills_its_worker_is_tried_as_often_as_one_that_raises(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "starts").mkdir()
    settings = EngineSettings(kind="ray", workers=2, retry_seconds=0.01)
    with pytest.raises(StepFailed, match=r"shard 00001: the worker process died: SIGSEGV \(on "):
        run_plan(
            plan(numbers=tuple(range(12)), dies=1, starts=str(tmp_path / "starts")),
            tmp_path / "out",
            settings,
            QUIET,
        )
    assert len(list((tmp_path / "starts").glob("1-*"))) == 3
    (report,) = (tmp_path / "out").glob("steps/*/quarantine/map-00001.txt")
    told = report.read_text()
    assert told.startswith("task 00001 of phase map, 3 attempts\n")
    assert "attempt 3 on node" in told and ", pid " in told and "  about to die" in told
    assert told.splitlines()[-1] == "the worker process died: SIGSEGV"
    captured = capfd.readouterr()
    assert "raylet" not in captured.out + captured.err


def test_a_task_that_no_node_can_hold_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    needs = {"toy": {"num_cpus": 0.5, "memory_bytes": 1 << 60}}
    settings = EngineSettings.model_validate({"kind": "ray", "workers": 2, "stages": needs})
    with pytest.raises(
        UsageError, match=r"phase `map` is to hold 1,152,921,504,606,846,976 bytes, the largest node offers"
    ):
        run_plan(plan(), tmp_path / "out", settings, QUIET)


def test_what_a_stage_takes_is_said_in_the_recipe_and_names_are_checked() -> None:
    settings = EngineSettings.model_validate({"stages": {"toy": {"num_cpus": 2, "window": 7}}})
    phase = Phase("map", [], memory_bytes=5)
    assert settings.provide("toy", phase) == Phase("map", [], num_cpus=2, memory_bytes=5, window=7)
    assert settings.provide("extract", phase) == phase
    shared = EngineSettings.model_validate({"stages": {"toy": {"num_gpus": 0.25}}})
    assert shared.provide("toy", Phase("map", [], num_gpus=1)) == Phase("map", [], num_gpus=0.25)
    with pytest.raises(ValidationError, match="there is no stage `extrakt`; the stages are extract, "):
        EngineSettings.model_validate({"stages": {"extrakt": {"window": 7}}})


class Slow:
    """A Ray that starts at the third try."""

    def __init__(self) -> None:
        self.tries = 0

    def init(self, **arguments: object) -> None:
        self.tries += 1
        if self.tries < 3:
            raise Exception("The current node timed out during startup.\nMore.")

    def shutdown(self) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of Ray, put back as it was."""
    monkeypatch.setattr(starting, "_must_listen", lambda address: None)
    for name in (*starting._WAITS, *starting._JOINS, "RAY_ADDRESS", "PYTHONPATH"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    return monkeypatch


def test_ray_on_a_busy_machine_is_started_again_and_a_cluster_that_is_not_there_is_named(
    here: pytest.MonkeyPatch,
) -> None:
    slow = Slow()
    starting.start(slow, EngineSettings(), print)
    assert slow.tries == 3
    with pytest.raises(
        EngineError,
        match=r"Ray did not answer at `10\.0\.0\.1:6379`: .*timed out during startup\.\nhint: is a cluster",
    ):
        starting.start(Slow(), EngineSettings(address="10.0.0.1:6379"), print)
    here.setattr(starting, "TRIES", 2)
    with pytest.raises(EngineError, match=r"did not start on this machine in \d+ s and 2 tries: .*startup\."):
        starting.start(Slow(), EngineSettings(), print)


def test_a_node_of_ones_own_is_waited_for_longer_than_ray_does_and_what_is_waited_for_is_said(
    here: pytest.MonkeyPatch,
) -> None:
    starting.set_environment(EngineSettings(address="10.0.0.1:6379"))
    assert not set(starting._WAITS) & set(os.environ)  # a cluster that is not there is told at once
    here.setenv("RAY_raylet_start_wait_time_s", "7")
    starting.set_environment(EngineSettings())
    assert [os.environ[name] for name in starting._WAITS] == ["120", "7"]
    said: list[str] = []
    told = threading.Event()

    class Late(Slow):
        def init(self, **arguments: object) -> None:
            assert told.wait(60)

    def say(line: str) -> None:
        said.append(line)
        told.set()

    here.setattr(starting, "SAY_SECONDS", 0.01)
    starting.start(Late(), EngineSettings(), say)
    assert re.fullmatch(r"  waiting for Ray to start on this machine, try 1 of 5: \d+ s", said[0])
    told.clear()
    said.clear()
    starting.start(Late(), EngineSettings(address="10.0.0.1:6379"), say)
    assert re.fullmatch(r"  waiting for Ray to answer at `10\.0\.0\.1:6379`: \d+ s", said[0])


def test_a_port_where_nothing_listens_is_told_at_once() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"Ray did not answer at `{address}`: .*refused"):
            starting.start(None, EngineSettings(address=address), print)
        held.listen()
        starting._must_listen(address)
    for other in ("auto", "local", "ray://127.0.0.1:1"):  # Ray's to find
        starting._must_listen(other)


def test_processes_of_a_try_that_failed_are_ended_before_the_next(
    here: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asleep = "import time; time.sleep(600)"
    left, other = [subprocess.Popen([sys.executable, "-c", asleep])], []

    class Half(Slow):
        def init(self, **arguments: object) -> None:
            assert all(process.wait(60) for process in other)
            other.append(subprocess.Popen([sys.executable, "-c", asleep, str(tmp_path / "ray" / "logs")]))
            left.append(subprocess.Popen([sys.executable, "-c", asleep]))
            super().init()

    try:
        starting.start(Half(), EngineSettings(), print)
        assert [process.poll() is None for process in other] == [False, False, True]
        assert all(process.poll() is None for process in left)
    finally:
        for process in [*left, *other]:
            process.kill()
            process.wait()


def test_ray_that_was_started_for_one_task_serves_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []

    @contextmanager
    def started(settings: EngineSettings, **facts: object) -> Iterator[RayEngine]:
        starts.append(facts["num_tasks"])
        yield object.__new__(RayEngine)

    monkeypatch.setattr(engines, "open_engine", started)
    with engines.opened(EngineSettings(kind="ray"), tmp_path, print) as held:
        first = held.for_tasks(1)
        with engines.opened(held, tmp_path, print) as same:
            assert same.for_tasks(5) is first
        assert held.for_tasks(1) is first
    assert starts == [1]


def test_a_task_that_takes_a_signal_for_damage_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support import toy_stage as toy

    whole = toy.square

    def swallow(*arguments: object, **settings: object) -> None:
        with suppress(Exception):  # as a reader does with whatever a codec raises
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        whole(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(toy, "square", swallow)
    monkeypatch.setattr(swallow, "__qualname__", "square")
    monkeypatch.setattr(swallow, "__module__", "tests.support.toy_stage")
    with pytest.raises(Interrupted), signals.stopped_by_signals():
        run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    assert not list((tmp_path / "out").glob("steps/*/records/*/*.json"))


def test_a_task_that_fails_for_a_signal_is_neither_tried_again_nor_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support import toy_stage as toy

    tries = []

    def fail(*arguments: object, **settings: object) -> None:
        tries.append(1)
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except Exception as error:  # as for a recipe's own function
            raise InputError("`rule.py:measure` failed on a text") from error

    monkeypatch.setattr(toy, "square", fail)
    monkeypatch.setattr(fail, "__qualname__", "square")
    monkeypatch.setattr(fail, "__module__", "tests.support.toy_stage")
    with pytest.raises(Interrupted), signals.stopped_by_signals():
        run_plan(plan(3), tmp_path / "out", INLINE, QUIET)
    assert len(tries) == 1
    assert not list((tmp_path / "out").glob("steps/*/quarantine/*"))
    assert not list((tmp_path / "out").glob("steps/*/manifest.json"))


def test_no_loss_is_booked_of_an_engine_that_failed_for_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: object, folder: Path, phase: Phase, tasks: Sequence[Task], watch: Watch) -> list[object]:
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return [TaskFailure(task, (Attempted("cannot see the worker", "", None),)) for task in tasks]

    monkeypatch.setattr(engine.InlineEngine, "run", run)
    with pytest.raises(Interrupted), signals.stopped_by_signals():
        run_plan(plan(3), tmp_path / "out", INLINE, QUIET)
    assert not list((tmp_path / "out").glob("steps/*/quarantine/*"))


def test_a_step_that_takes_a_signal_for_damage_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = execute.put_summary

    def swallow(*arguments: Any) -> Any:
        with suppress(Exception):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return put(*arguments)

    monkeypatch.setattr(execute, "put_summary", swallow)
    with pytest.raises(Interrupted), signals.stopped_by_signals():
        run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    assert not list((tmp_path / "out").glob("steps/*/manifest.json"))
    monkeypatch.undo()
    assert run_plan(plan(), tmp_path / "out", INLINE, QUIET).ran == ["toy/a"]


def test_a_signal_that_was_swallowed_ends_the_run_at_the_latest() -> None:
    def work() -> None:
        with signals.stopped_by_signals(), suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(Interrupted) as caught:
        work()
    assert caught.value.exit_code == 128 + signal.SIGTERM
    signals.check()  # and is forgotten behind it


class PanicException(BaseException):
    """As pyo3 names what it raises where Rust code panics."""


@pytest.mark.parametrize("error", [SystemExit(0), PanicException("index out of bounds")])
def test_a_task_that_would_end_this_process_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    from tests.support import toy_stage as toy

    def leave(*arguments: object, **settings: object) -> None:
        raise error

    monkeypatch.setattr(toy, "square", leave)
    monkeypatch.setattr(leave, "__qualname__", "square")
    monkeypatch.setattr(leave, "__module__", "tests.support.toy_stage")
    with pytest.raises(StepFailed, match=f"shard 00000: {type(error).__name__}: "):
        run_plan(plan(), tmp_path / "out", INLINE, QUIET)


def test_what_a_task_said_to_do_is_said_again_when_its_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support import toy_stage as toy

    def refuse(*arguments: object, **settings: object) -> None:
        raise InputError("the file has no text", hint="give it some")

    monkeypatch.setattr(toy, "square", refuse)
    monkeypatch.setattr(refuse, "__qualname__", "square")
    monkeypatch.setattr(refuse, "__module__", "tests.support.toy_stage")
    with pytest.raises(StepFailed) as caught:
        run_plan(plan(), tmp_path / "out", INLINE, QUIET)
    assert caught.value.hint and caught.value.hint.startswith(
        "give it some\n      the tracebacks lie there; "
    )
