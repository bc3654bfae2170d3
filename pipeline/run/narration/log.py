"""The log file of a run: `run.log` in its output folder, a line for what was said, when and how serious."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from gristmill.files.location import RemotePath
from gristmill.files.storage import write_atomic
from gristmill.redact import public_url

LEVELS = ("debug", "info", "warning", "error")
LOG = "run.log"
_MOST_BYTES = 16 << 20  # an older log gives way: what is kept is the end
_PUT_SECONDS = 60.0  # an object store takes whole objects: how often the log is put there


class RunLog:
    """Append lines to a run's log, those of earlier runs above; a log that cannot be written ends no run."""

    def __init__(self, out: Path, level: str) -> None:
        self.path, self.level = out / LOG, level
        self._is_remote = isinstance(out, RemotePath)
        self._lines: list[str] = []
        self._put = time.monotonic()
        try:
            if self.path.exists():
                before = self.path.read_bytes()[-_MOST_BYTES:] if self._is_remote else b""
                self._lines = before.decode("utf-8", "replace").splitlines()
                if not self._is_remote and self.path.stat().st_size > _MOST_BYTES:
                    self.path.replace(self.path.with_suffix(".log.old"))
        except OSError:
            pass

    def write(self, level: str, text: str) -> None:
        """Add a line where its level is one that is wanted."""
        if LEVELS.index(level) < LEVELS.index(self.level):
            return
        clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f"{clock} {level:<7} " + " | ".join(public_url(text).splitlines())
        try:
            if self._is_remote:
                self._lines.append(line)
                self._put_whole(now=level == "error")
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
        except OSError:
            pass

    def close(self) -> None:
        """Put what a store has not seen yet."""
        if self._is_remote and self._lines:
            with suppress(OSError):
                self._put_whole(now=True)

    def _put_whole(self, *, now: bool) -> None:
        if now or time.monotonic() - self._put >= _PUT_SECONDS:
            self._put = time.monotonic()
            write_atomic(self.path, ("\n".join(self._lines) + "\n").encode())
