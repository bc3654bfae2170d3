"""The extractor's process: whatever a page does to it costs that page, and only that page."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.errors import GristmillError
from gristmill.pipeline.extract import child as child_module
from gristmill.pipeline.extract.child import Child, close_kept, kept_child
from gristmill.pipeline.extract.frames import FAILED, TEXT, Page
from gristmill.pipeline.extract.settings import ExtractSettings

HERE = Path(__file__).resolve().parent
DEADLINE = 1.0


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    settings = ExtractSettings(extractor="resiliparse", deadline_seconds=DEADLINE, memory_bytes=256 << 20)
    monkeypatch.setattr(child_module, "_IDLE_FACTOR", 2)
    monkeypatch.setattr(child_module, "_END_SECONDS", 2.0)
    with Child(settings, loader="tests.support.hostile_extractors:hostile") as child:
        yield child


def page(number: int, act: str = "") -> Page:
    meta = f'<meta name="do" content="{act}">' if act else ""
    return Page(
        f"https://a.example/{number}",
        "text/html",
        "utf-8",
        "",
        f"<html>{meta}<p>page {number}</p></html>".encode(),
    )


@pytest.mark.parametrize(
    ("act", "error"),
    [
        ("loop", "timeout"),
        ("sleep", "timeout"),
        ("hold", "timeout"),
        ("bloat", "memory"),
        ("segfault", "crash"),
        ("exit", "crash"),
        ("orphan", "crash"),
        ("close", "crash"),
        ("recurse", "too_deep"),
        ("raise", "extractor_error"),
    ],
)
def test_a_hostile_page_costs_one_failed_result_and_the_rest_of_its_batch_goes_on(
    child: Child, act: str, error: str
) -> None:
    started = time.monotonic()
    results = list(child.extract([page(0), page(1, act), page(2), page(3)]))
    assert [result.kind for result in results] == [TEXT, FAILED, TEXT, TEXT]
    assert [result.text for result in results if result.kind == TEXT] == ["page 0", "page 2", "page 3"]
    assert results[1].said["error"] == error
    assert (
        time.monotonic() - started < 120
    )  # on a busy machine: the time a process waits for a CPU is not held against it


def test_a_process_that_somebody_else_killed_fails_the_task_and_no_page(child: Child) -> None:
    with pytest.raises(GristmillError, match="was ended from outside, by SIGKILL") as caught:
        list(child.extract([page(0), page(1, "kill"), page(2)]))
    assert caught.value.hint and "memory" in caught.value.hint


def test_a_pause_of_the_machine_is_not_held_against_a_page(child: Child) -> None:
    """The process is stopped for thrice its deadline in the middle of a page that needs half of it."""
    results = child.extract([page(0), page(1, "half")])
    next(results)
    assert child._process
    pid = child._process.popen.pid
    stopper = threading.Timer(0.2, os.kill, (pid, signal.SIGSTOP))
    starter = threading.Timer(0.2 + 3 * DEADLINE, os.kill, (pid, signal.SIGCONT))
    stopper.start()
    starter.start()
    assert next(results).kind == TEXT


def test_a_page_that_took_more_cpu_time_than_allowed_is_late_even_if_its_result_came_before_anyone_looked(
    child: Child,
) -> None:
    results = child.extract([page(0), page(1, "long"), page(2)])
    next(results)
    time.sleep(3 * DEADLINE)
    rest = list(results)
    assert [result.kind for result in rest] == [FAILED, TEXT]
    assert rest[0].said == {"error": "timeout", "message": "more than 1 s of CPU time"}


LIMITED = """
import json, sys
from gristmill.errors import GristmillError
from gristmill.pipeline.extract.child import Child
from gristmill.pipeline.extract.frames import Page
from gristmill.pipeline.extract.settings import ExtractSettings
with Child(ExtractSettings(extractor="resiliparse", memory_bytes=int(sys.argv[1]))) as child:
    pages = [Page("https://a.example/", "text/html", "utf-8", "", b"<html><p>some text</p></html>")] * 2
    try:
        print(json.dumps([result.text for result in child.extract(pages)]))
    except GristmillError as error:
        print(error)
"""


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
@pytest.mark.parametrize(("memory_bytes", "works"), [(256 << 20, True), (8 << 30, False)])
def test_a_limit_on_address_space_fails_the_task_where_it_is_too_low_and_no_page(
    memory_bytes: int, works: bool
) -> None:
    plain = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]  # a user who may not raise the limit
    command = (
        f"ulimit -v 8000000; exec {shlex.quote(sys.executable)} -c {shlex.quote(LIMITED)} {memory_bytes}"
    )
    done = subprocess.run([*plain, "bash", "-c", command], capture_output=True, text=True, timeout=120)
    if works:
        assert done.stdout.strip() == '["some text", "some text"]', done.stderr
    else:
        assert "its address space is limited to 8,192,000,000 bytes" in done.stdout, done.stderr
        assert "ulimit -v" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="counts Linux's descriptors")
def test_processes_that_are_replaced_leave_nothing_open(child: Child) -> None:
    list(child.extract([page(0)]))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        assert [result.kind for result in child.extract([page(0), page(1, "exit"), page(2)])][1] == FAILED
    assert len(list(Path("/proc/self/fd").iterdir())) == before and child.num_started > 5


def test_hostile_pages_in_a_row_and_at_both_ends_are_one_result_each(child: Child) -> None:
    acts = ["exit", "segfault", "", "exit", "bloat", "", "exit"]
    results = list(child.extract([page(number, act) for number, act in enumerate(acts)]))
    assert [result.kind == FAILED for result in results] == [bool(act) for act in acts]


def test_texts_larger_than_the_pipe_come_whole_and_in_order() -> None:
    bodies = [b"<p>" + b"word " * num_words for num_words in (600_000, 1, 300_000, 2, 600_000)]
    with Child(ExtractSettings(extractor="resiliparse", favor="recall")) as child:
        results = list(
            child.extract([Page("https://a.example/", "text/html", "utf-8", "", body) for body in bodies])
        )
    assert [len(result.text.split()) for result in results] == [600_000, 1, 300_000, 2, 600_000]


def test_the_process_is_replaced_after_so_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    with Child(ExtractSettings(extractor="resiliparse", recycle_pages=3)) as child:
        results = list(child.extract([page(number) for number in range(8)]))
        assert len(results) == 8
        assert child.num_started == 3


def test_a_page_is_given_the_same_memory_after_a_leak_as_before_it(child: Child) -> None:
    """Half the cap leaked by pages before must not fail a page that fits the cap alone."""
    assert [result.kind for result in child.extract([page(number) for number in range(50)])] == [TEXT] * 50
    assert child.num_started == 1


def test_a_process_is_kept_for_the_next_task_and_ended_by_an_error() -> None:
    settings = ExtractSettings(extractor="resiliparse")
    close_kept()  # what an earlier test left behind may have ended by itself since
    with kept_child(settings) as first:
        list(first.extract([page(0)]))
    with kept_child(settings) as again:
        list(again.extract([page(0)]))
        assert again is first
        assert again.num_started == 1
    with pytest.raises(RuntimeError), kept_child(settings):
        raise RuntimeError
    with kept_child(settings) as other:
        assert other is not first
    close_kept()


def test_a_kept_process_that_went_away_is_replaced() -> None:
    with Child(ExtractSettings(extractor="resiliparse")) as child:
        list(child.extract([page(0)]))
        assert child._process
        child._process.popen.kill()
        child._process.popen.wait()
        assert [result.kind for result in child.extract([page(0), page(1)])] == [TEXT, TEXT]
        assert child.num_started == 2


def test_a_pause_of_the_machine_before_a_page_is_not_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh process waits however long; one that has had pages ends when idle, and is replaced."""
    monkeypatch.setattr(child_module, "_KEPT_SECONDS", 0.1)
    with Child(ExtractSettings(extractor="resiliparse")) as child:
        fresh = child._ready()
        time.sleep(1)
        assert [result.kind for result in child.extract([page(0)])] == [TEXT]
        assert child._process is fresh
        fresh.popen.wait(timeout=90)
        assert [result.kind for result in child._run(fresh, [page(1)])] == [TEXT]
        assert child.num_started == 2


def test_an_extractor_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Child(ExtractSettings(extractor="resiliparse"), loader="no_such_module:x") as child,
        pytest.raises(GristmillError, match="does not start: the process exited with status 1"),
    ):
        list(child.extract([page(0)]))


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys
        from gristmill.pipeline.extract.child import Child, close_kept, kept_child
        from gristmill.pipeline.extract.frames import Page
        from gristmill.pipeline.extract.settings import ExtractSettings
        settings = ExtractSettings(deadline_seconds=600)
        child = Child(settings, loader="tests.support.hostile_extractors:hostile")
        next(child.extract([Page("", "text/html", "", "", b"<p>x</p>")]))
        print(child._process.popen.pid, flush=True)
        list(child.extract([Page("", "text/html", "", "", b'<meta name="do" content="hold">')]))
        """)
    import gristmill

    root = Path(gristmill.__file__).resolve().parent.parent
    env = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{HERE}"}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=env) as parent:
        assert parent.stdout
        orphan = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
        parent.wait()
    for _ in range(50):
        if not _is_running(orphan):
            return
        time.sleep(0.1)
    pytest.fail("the extractor's process outlived its parent")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
