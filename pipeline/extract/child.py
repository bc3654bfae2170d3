"""The killable process in which pages are extracted: batched, with a deadline and a memory cap for each page.

    with kept_child(settings, metadata=False) as child:
        for result in child.extract(pages):      # one result a page, in order
            ...

A thread or a signal cannot stop an extractor inside C code; killing a process can, in milliseconds. A page
that hangs, crashes or bloats costs itself and the start of a new process; the rest of its batch goes on.

The state of the machine is no result: a deadline counts the process's CPU time (a machine that is paused,
throttled or busy costs no page), a process that cannot be given the memory that a page is allowed fails its
task, and so does one that somebody else killed.
`kept_child` leaves the process to the next task of the same worker, since starting one costs as much as a
hundred pages; it ends by itself when idle.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from gristmill.errors import GristmillError
from gristmill.pipeline.extract.extracted import Form
from gristmill.pipeline.extract.frames import (
    FAILED,
    READY,
    RESULT,
    Page,
    write_batch,
)
from gristmill.pipeline.extract.processes import activity, resident_bytes
from gristmill.pipeline.extract.running import Process, kill, start_process
from gristmill.pipeline.extract.settings import ExtractSettings

_START_SECONDS = (
    900.0  # imports from a cold disk, kernels that are compiled for the first time, every core busy
)
_IDLE_FACTOR = 20  # a page that only sleeps ends after so many deadlines, counted while this process is awake
_LONGEST_POLL_SECONDS = 1.0  # a longer one was a pause of this machine, not a wait
_FAULTS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP)
_POLL_SECONDS = 0.25
_KEPT_SECONDS = 60.0  # how long a process waits for the next task once it has had pages
_READ_BYTES = 1 << 18
_WAKE_BYTES = 64
_END_SECONDS = 10.0  # from the end of a pipe to that of the process


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one page: `kind` is one of frames.TEXT, FAILED, LANGUAGE."""

    kind: int
    said: dict[str, Any]
    text: str = ""


class _Ended(Exception):
    """The process closed its pipe, or ended while something that it has started holds it open."""


class _Late(Exception):
    """The page took longer than its deadline; the message says how."""


class Child:
    """Runs pages through an extractor in a process of its own; starts it late, replaces it as needed, closes
    it."""

    def __init__(
        self,
        settings: ExtractSettings,
        metadata: bool = False,
        loader: str | None = None,
        statements: bool = False,
    ) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._options = {
            "extractor": settings.extractor,
            "favor": settings.favor,
            "form": Form(
                settings.format,
                settings.links,
                settings.emphasis,
                settings.images,
                settings.comments,
                settings.headline,
            ),
            "html_languages": settings.html_languages,
            "pdf": settings.pdf,
            "max_page_bytes": settings.max_page_bytes,
            "memory_bytes": settings.memory_bytes,
            "metadata": metadata,
            "statements": statements,
            "loader": loader,
            "idle_seconds": _KEPT_SECONDS,
        }
        self.num_started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process and everything it has started."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    def extract(self, pages: Sequence[Page]) -> Iterator[Result]:
        """Yield one result for each page, in order."""
        done = 0
        while done < len(pages):
            process = self._ready()
            rest = pages[done : done + self._settings.recycle_pages - process.num_pages]
            for result in self._run(process, rest):
                yield result
                done += 1
            if process.num_pages >= self._settings.recycle_pages:
                self.close()

    def _run(self, process: Process, pages: Sequence[Page]) -> Iterator[Result]:
        """Yield results until a page ends the process, that page's included."""
        with contextlib.suppress(
            BrokenPipeError
        ):  # it ended on an earlier page's doing or the kernel's; reading says which
            write_batch(process.popen.stdin, pages, process.shared)  # type: ignore[arg-type]
        for page in pages:
            was_fresh = process.num_pages == 0
            try:
                deadline = self._settings.deadline_seconds
                result = self._next(process, deadline, _IDLE_FACTOR * deadline)
                process.num_pages += 1
            except _Late as late:
                self.close()
                yield _failed("timeout", str(late))
                return
            except _Ended:
                result = self._cause_of_death(process)
            if result.kind == FAILED and result.said["error"] in ("crash", "memory"):
                self.close()
                # What a used process died of may be the doing of pages before: the outcome of a page must not
                # depend on them.
                yield result if was_fresh else next(self._run(self._ready(), [page]))
                return
            yield result

    def _next(self, process: Process, cpu_seconds: float, idle_seconds: float) -> Result:
        """Return the next result; raises _Late where it takes more CPU time, or where the process sleeps for
        so long.

        The process says itself how much CPU time a page took, so that whether one is late does not depend on
        when somebody looked. Nobody does before a first wait was in vain.
        """
        buffer, polled, idle = process.buffer, time.monotonic(), 0.0
        begun = before = None
        while True:
            if len(buffer) >= RESULT.size:
                kind, num_said, num_text = RESULT.unpack_from(buffer)
                end = RESULT.size + num_said + num_text
                if len(buffer) >= end:
                    said = json.loads(buffer[RESULT.size : RESULT.size + num_said])
                    text = buffer[RESULT.size + num_said : end].decode()
                    del buffer[:end]
                    if said.pop("cpu_seconds", 0.0) > cpu_seconds:
                        raise _Late(f"more than {cpu_seconds:g} s of CPU time")
                    return Result(kind, said, text)
            if self._receive(process):
                continue
            if process.popen.poll() is not None:  # what it has started may hold its pipe open
                if not self._receive(process):
                    raise _Ended
                continue
            now, elapsed = activity(process.popen.pid), time.monotonic() - polled
            polled += elapsed
            if now is None:  # the system does not say: by the clock
                idle += elapsed
                if idle > cpu_seconds:
                    raise _Late(f"more than {cpu_seconds:g} s")
                continue
            if begun is None or before is None:
                begun = before = now
                continue
            if now.cpu_seconds - begun.cpu_seconds > cpu_seconds:
                raise _Late(f"more than {cpu_seconds:g} s of CPU time")
            if now.sleeps and now.cpu_seconds == before.cpu_seconds:
                idle += min(elapsed, _LONGEST_POLL_SECONDS)
            if idle > idle_seconds:
                raise _Late(f"slept for more than {idle_seconds:g} s")
            before = now

    def _receive(self, process: Process) -> bool:
        """Read what has come, waiting a moment for it; False if nothing has.

        A second pipe wakes this process once per batch, and before a result that may not fit the first: to
        wake for each result costs as much as passing the page. A result that came in part is waited for.
        """
        descriptor = process.popen.stdout.fileno()  # type: ignore[union-attr]
        waits_for = [process.wake, descriptor] if process.buffer else [process.wake]
        if process.wake in select.select(waits_for, [], [], _POLL_SECONDS)[0]:
            os.read(process.wake, _WAKE_BYTES)
            select.select([descriptor], [], [], _POLL_SECONDS)
        before = len(process.buffer)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(descriptor, _READ_BYTES):
                process.buffer += data
            if len(process.buffer) == before:
                raise _Ended
        return len(process.buffer) > before

    def _ready(self) -> Process:
        if self._process is not None and (
            self._process.popen.poll() is not None or self._has_grown(self._process)
        ):
            self.close()
        if self._process is None:
            self._process = self._start()
        return self._process

    def _has_grown(self, process: Process) -> bool:
        return resident_bytes(process.popen.pid) > process.resident_bytes + self._settings.memory_bytes // 2

    def _start(self) -> Process:
        failed = f"the process of extractor `{self._settings.extractor}` does not start"
        try:
            process = start_process(self._options)
        except OSError as error:
            hint = "the system may allow no more processes, open files or memory: `ulimit -a` tells"
            raise GristmillError(f"{failed}: {error}", hint=hint) from error
        self.num_started += 1
        hint = "run `python -m gristmill.pipeline.extract.worker_main` with its JSON argument to see why"
        try:
            first = self._next(process, _START_SECONDS, _START_SECONDS)
            if first.kind == READY:
                process.resident_bytes = resident_bytes(process.popen.pid)
                return process
            cause, hint = first.said["message"], first.said.get("hint", hint)
        except _Late as late:
            cause = f"it was not ready: {late}"
        except _Ended:
            cause = self._cause_of_death(process).said["message"]
        except BaseException:
            kill(process)
            raise
        kill(process)
        raise GristmillError(f"{failed}: {cause}", hint=hint)

    def _cause_of_death(self, process: Process) -> Result:
        """What a page did to the process; raises GristmillError where it was somebody else's doing."""
        try:
            code = process.popen.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return _failed("crash", "the process closed its pipe and did not end")
        if code >= 0:
            return _failed("crash", f"the process exited with status {code}")
        if -code in _FAULTS:
            return _failed("crash", f"the process died of {signal.Signals(-code).name}")
        raise GristmillError(
            f"the process of extractor `{self._settings.extractor}` was ended from outside, by"
            f" {signal.Signals(-code).name}",
            hint=(
                "the kernel does that for want of memory: give the machine more, start fewer workers, or"
                " lower `extract.memory_bytes`"
            ),
        )


_kept: dict[tuple[str, str], Child] = {}  # at most one


@contextlib.contextmanager
def kept_child(
    settings: ExtractSettings,
    metadata: bool = False,
    loader: str | None = None,
    statements: bool = False,
) -> Iterator[Child]:
    """Lend the process that the last task with the same settings left behind, or a new one; an exception ends
    it."""
    key = settings.model_dump_json(), f"{metadata}/{loader}/{statements}"
    child = _kept.pop(key, None)
    close_kept()
    child = child or Child(settings, metadata, loader, statements)
    try:
        yield child
    except BaseException:
        child.close()
        raise
    _kept[key] = child


def close_kept() -> None:
    """End the process that is kept for a next task."""
    while _kept:
        _kept.popitem()[1].close()


atexit.register(close_kept)
os.register_at_fork(after_in_child=_kept.clear)  # a forked process must not talk to its parent's


def _failed(error: str, message: str) -> Result:
    return Result(FAILED, {"error": error, "message": message})
