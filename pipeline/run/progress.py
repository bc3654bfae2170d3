"""Narration on stderr: one live line per stage on a terminal, a plain line every 30 seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TextIO

_PLAIN_SECONDS = 30.0
_LIVE_SECONDS = 0.1
_BEAT_SECONDS = 1.0  # how often a live line is renewed while no task ends


class Progress:
    """Say how far a phase has come; silent when quiet.

    A phase may be one long task, such as training: a line is renewed by the clock, too, not only when a task
    ends.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = not quiet and self.stream.isatty()
        self._lock = threading.Lock()
        self._beat: threading.Timer | None = None
        self._start_phase("", 0, 0)

    def _start_phase(self, title: str, done: int, total: int) -> None:
        self.title, self.done, self.total, self.started = title, done, total, done
        self.began = self.spoke = time.monotonic()
        self.told: Callable[[], str] | None = None
        self.aside = ""  # what is slow, or waited for
        self._at_work: Sequence[float] = ()
        self._usual = 0.0

    def phase(self, title: str, *, done: int, total: int, told: Callable[[], str] | None = None) -> None:
        """Begin a phase of which `done` of `total` tasks were finished before; `end` ends it. `told` is what
        a long task says of itself, beside the clock."""
        with self._lock:
            self._start_phase(title, done, total)
            self.told = told
            self._speak()
            self._arm()

    def advance(self) -> None:
        with self._lock:
            self.done += 1
            self._speak()

    def at_work(self, seconds: Sequence[float], usual: float) -> None:
        """Be told for how long tasks are at work, and what is usual: it counts towards the time to go."""
        self._at_work, self._usual = seconds, usual

    def end(self) -> None:
        """Leave the line to what comes next."""
        with self._lock:
            self._disarm()
            if self.live:
                self._draw("")

    def note(self, line: str) -> None:
        """Say one line that stays."""
        if not self.quiet:
            self.end()
            print(line, file=self.stream, flush=True)

    def _arm(self) -> None:
        """Speak again in a while, whatever happens until then."""
        self._disarm()
        if not self.quiet and self.done < self.total:
            self._beat = threading.Timer(_BEAT_SECONDS if self.live else _PLAIN_SECONDS, self._tick)
            self._beat.daemon = True
            self._beat.start()

    def _disarm(self) -> None:
        if self._beat:
            self._beat.cancel()
            self._beat = None

    def _draw(self, line: str) -> None:
        """Put a line in the place of the one before."""
        self.stream.write(f"\r\x1b[2K{line[:79]}")
        self.stream.flush()

    def _tick(self) -> None:
        with self._lock:
            if self._beat:  # not ended meanwhile
                self._speak()
                self._arm()

    def _speak(self) -> None:
        now = time.monotonic()
        if self.quiet or now - self.spoke < (_LIVE_SECONDS if self.live else _PLAIN_SECONDS):
            return
        self.spoke = now
        said = self.told() if self.told else ""
        line = f"  {self.title}: " + (said or f"{self.done}/{self.total} shards{self._remaining(now)}")
        line += f"; {self.aside}" if self.aside and not said else ""
        if self.live:
            self._draw(line)
        else:
            print(line, file=self.stream, flush=True)

    def _remaining(self, now: float) -> str:
        fresh = self.done - self.started
        if not fresh:
            return f", {spell_seconds(now - self.began)} so far"
        under_way = sum(min(1.0, seconds / self._usual) for seconds in self._at_work) if self._usual else 0.0
        seconds = (now - self.began) / (fresh + under_way) * max(0.0, self.total - self.done - under_way)
        return f", {spell_seconds(seconds)} to go"


def spell_seconds(seconds: float) -> str:
    """Spell a duration: `40 ms`, `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 0.095:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
