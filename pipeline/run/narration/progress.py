"""Narration of a run: what is at work, how far, and how long still.

On a terminal it is a table of all steps that is drawn over itself, elsewhere a plain line every 30 seconds or
JSON, and all of it goes into the run's log file.

A phase may be one long task, such as training: what is shown is renewed by the clock, too, not only when a
task ends.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from gristmill.files.inside import inert
from gristmill.pipeline.run.narration.board import Board
from gristmill.pipeline.run.narration.log import LEVELS, RunLog
from gristmill.pipeline.run.narration.spelling import spell_seconds

__all__ = ["Progress", "spell_seconds"]

_PLAIN_SECONDS = 30.0
_LIVE_SECONDS = 0.1
_BEAT_SECONDS = 1.0  # how often a live table is renewed while no task ends


class Progress:
    """Say how far a run has come; silent when quiet.

    `level` is what is said on the stream: debug names every task. `events` says it as a JSON object a line.
    The log file of a run, which `logged` opens, has what `log_level` says, also of a quiet run.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        level: str = "info",
        log_level: str = "info",
        events: bool = False,
    ) -> None:
        self.stream = stream or sys.stderr
        self.quiet, self.events = quiet, events
        self.level, self.log_level = level, log_level
        self.live = not quiet and not events and self.stream.isatty()
        self.log: RunLog | None = None
        self.board = Board()
        self._lock = threading.RLock()
        self._beat: threading.Timer | None = None
        self._drawn = 0
        self._start_phase("", 0, 0)

    def _start_phase(self, title: str, done: int, total: int) -> None:
        self.title, self.done, self.total, self.started = title, done, total, done
        self.began = self.spoke = time.monotonic()
        self.told: Callable[[], str] | None = None
        self.aside = ""  # what is slow, or waited for
        self._at_work: Sequence[float] = ()
        self._usual = 0.0

    def beside(self) -> Progress:
        """One for a step that runs beside the one that is shown: it says what stays, and is counted in the
        log."""
        return _Beside(self)

    @contextmanager
    def logged(self, out: Path, command: str) -> Iterator[None]:
        """Write what is said while the block runs into the run's log, after the command that began it."""
        self.log = RunLog(out, self.log_level)
        self.log.write("info", f"began: {command}")
        try:
            yield
        except BaseException as error:
            self._event("error", "error", text=str(error))
            self._log("error", f"{type(error).__name__}: {error}")
            raise
        finally:
            self.end()
            self.log.close()
            self.log = None

    def plan(self, steps: Sequence[str]) -> None:
        """Tell all steps of the run, in the order they will be done."""
        with self._lock:
            self.board = Board(steps)
            self._event("info", "plan", steps=list(steps))

    def found(self, step: str, kept: int | None = None) -> None:
        """A step was there before."""
        with self._lock:
            self.board.end(step, "was there", kept)
            self._event("debug", "step", step=step, state="reused")

    def finished(self, step: str, said: str, seconds: float, kept: int | None = None) -> None:
        """A step is done, or done but for what `said` says."""
        with self._lock:
            self.end()
            self.board.end(step, spell_seconds(seconds), kept)
            line = f"  {step}: {said} in {spell_seconds(seconds)}"
            self._event("info", "step", step=step, state=said, seconds=round(seconds, 3), kept=kept)
            if not (self.live and self.board.steps and said == "done"):  # the table says it
                self._print(line)
            self._log("info", line.strip())

    def phase(self, title: str, *, done: int, total: int, told: Callable[[], str] | None = None) -> None:
        """Begin a phase of which `done` of `total` tasks were finished before; `end` ends it. `told` is what
        tasks at work say of themselves, beside the clock."""
        with self._lock:
            self._start_phase(title, done, total)
            self.told = told
            self.board.begin(title)
            self._event("info", "phase", phase=title, done=done, total=total)
            self._log(
                "info",
                f"{title}: {done}/{total} shards were done before" if done else f"{title}: {total} shards",
            )
            self._speak()
            self._arm()

    def advance(self, task: str = "") -> None:
        """One more task of the phase has ended."""
        with self._lock:
            self.done += 1
            said = f"{self.title}: shard {task} is done, {self.done}/{self.total}"
            self._event("debug", "task", phase=self.title, task=task, done=self.done, total=self.total)
            self._log("debug", said)
            if self.level == "debug" and task:
                self._print(f"  {said}")
            self._speak()

    def at_work(self, seconds: Sequence[float], usual: float) -> None:
        """Be told for how long tasks are at work, and what is usual: it counts towards the time to go."""
        self._at_work, self._usual = seconds, usual

    def end(self) -> None:
        """Leave the place to what comes next."""
        with self._lock:
            self._disarm()
            if self.live:
                self._draw("")

    def note(self, line: str, level: str = "info") -> None:
        """Say one line that stays."""
        with self._lock:
            self._event(level, "note", text=line.strip())
            self._log(level, inert(line.strip()))
            if LEVELS.index(level) >= LEVELS.index(self.level):
                self._print(line)

    def _print(self, line: str) -> None:
        if self.quiet or self.events:
            return
        if self.live:
            self._draw("")
        print(inert(line), file=self.stream, flush=True)  # it may quote a name that a stranger wrote

    def _event(self, level: str, event: str, **facts: Any) -> None:
        if self.events and not self.quiet and LEVELS.index(level) >= LEVELS.index(self.level):
            body = {"time": round(time.time(), 3), "level": level, "event": event, **facts}
            print(json.dumps(body), file=self.stream, flush=True)

    def _log(self, level: str, line: str) -> None:
        if self.log:
            self.log.write(level, line)

    def _arm(self) -> None:
        """Speak again in a while, whatever happens until then."""
        self._disarm()
        if self.done < self.total and (self.log or not self.quiet):
            self._beat = threading.Timer(_BEAT_SECONDS if self.live else _PLAIN_SECONDS, self._tick)
            self._beat.daemon = True
            self._beat.start()

    def _disarm(self) -> None:
        if self._beat:
            self._beat.cancel()
            self._beat = None

    def _draw(self, text: str) -> None:
        """Put text in the place of what was drawn before."""
        lines = text.split("\n")
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self.stream.write(f"\r{up}\x1b[0J" + "\n".join(lines))
        self.stream.flush()
        self._drawn = len(lines) - 1

    def _tick(self) -> None:
        with self._lock:
            if self._beat:  # not ended meanwhile
                self._speak()
                self._arm()

    def _speak(self) -> None:
        now = time.monotonic()
        if now - self.spoke < (_LIVE_SECONDS if self.live else _PLAIN_SECONDS):
            return
        self.spoke = now
        told = self.told() if self.told else ""
        so_far = f"{self.done}/{self.total} shards{self._remaining(now)}"
        said = told if self.total == 1 and told else f"{so_far}{f', {told}' if told else ''}"
        said += f"; {self.aside}" if self.aside and said != told else ""
        if not self.live:
            self._event("info", "progress", phase=self.title, done=self.done, total=self.total, told=told)
            self._log("info", f"{self.title}: {said}")
            self._print(f"  {self.title}: {said}")
        elif self.board.steps:
            self._draw(self.board.drawn(said))
        else:
            self._draw(f"  {self.title}: {said}"[:79])

    def _remaining(self, now: float) -> str:
        fresh = self.done - self.started
        if not fresh:
            return f", {spell_seconds(now - self.began)} so far"
        under_way = sum(min(1.0, seconds / self._usual) for seconds in self._at_work) if self._usual else 0.0
        seconds = (now - self.began) / (fresh + under_way) * max(0.0, self.total - self.done - under_way)
        return f", {spell_seconds(seconds)} to go"


class _Beside(Progress):
    """The progress of a step that runs beside another: its phases are logged, its lines are the other's."""

    def __init__(self, shown: Progress) -> None:
        super().__init__(quiet=True, level=shown.level, log_level=shown.log_level)
        self._shown = shown
        self.log = shown.log

    def found(self, step: str, kept: int | None = None) -> None:
        self._shown.found(step, kept)

    def finished(self, step: str, said: str, seconds: float, kept: int | None = None) -> None:
        self._disarm()
        self._shown.finished(step, said, seconds, kept)

    def note(self, line: str, level: str = "info") -> None:
        self._shown.note(line, level)
