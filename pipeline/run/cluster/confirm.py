"""Records as the driver sees them: opened by the names that tasks return, never found in a listing.

A network file system may keep an old answer for up to a minute (acdirmax in nfs(5)): a name that was asked
for too early is then absent although the file is there. So a record that is missing is asked for again, after
this machine has changed the folder, which makes clients ask their server anew.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from gristmill.errors import GristmillError, IntegrityError
from gristmill.files.location import RemotePath
from gristmill.manifest import TaskRecord, read_records

_NUM_THREADS = 16  # that ask a store for records side by side
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.05, 2.0

T = TypeVar("T")


def confirmed(path: Path, digest: str | None = None) -> TaskRecord:
    """Read a record by name; raises FileNotFoundError, or IntegrityError where it is not the one that its
    task wrote."""
    (record,) = read_records([path])
    if digest not in (None, record.digest):
        raise IntegrityError(
            f"the record `{path}` hashes to {record.digest[:12]}..., its task says {str(digest)[:12]}...",
            hint="two attempts at one task wrote different records: its output does not depend on its"
            " arguments alone",
        )
    return record


def wait_for(path: Path, digest: str, seconds: float) -> TaskRecord:
    """Read a record that may appear within so many seconds; raises GristmillError when it does not."""
    with suppress(FileNotFoundError):
        return confirmed(path, digest)  # nearly always: no pool, no pause
    confirming: Confirming[None] = Confirming(seconds)
    confirming.add(None, path, digest)
    try:
        while True:
            for _, found in confirming.finished():
                if isinstance(found, TaskRecord):
                    return found
                raise found
            time.sleep(_FIRST_PAUSE_SECONDS)
    finally:
        confirming.close()


@dataclass(slots=True)
class _Asked(Generic[T]):
    what: T
    path: Path
    digest: str
    deadline: float
    pause: float = _FIRST_PAUSE_SECONDS
    not_before: float = 0.0
    future: Future[TaskRecord] | None = None


@dataclass(slots=True)
class Confirming(Generic[T]):
    """Records that are being read, each with what it belongs to; none is waited for longer than `seconds`."""

    seconds: float
    _asked: list[_Asked[T]] = field(default_factory=list)
    _pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, what: T, path: Path, digest: str) -> None:
        self._asked.append(_Asked(what, path, digest, time.monotonic() + self.seconds))

    def finished(self) -> Iterator[tuple[T, TaskRecord | Exception]]:
        """Yield those that were read, or will not be, and let go of them."""
        asked, self._asked = self._asked, []
        for one in asked:
            found = self._read(one)
            if found is None:
                self._asked.append(one)
            else:
                yield one.what, found

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, one: _Asked[T]) -> TaskRecord | Exception | None:
        """The record or what is wrong with it; None while it may still come."""
        now = time.monotonic()
        if now < one.not_before:
            return None
        if isinstance(one.path, RemotePath):  # a request takes long: others are asked for meanwhile
            if one.future is None:
                self._pool = self._pool or ThreadPoolExecutor(_NUM_THREADS, "records")
                one.future = self._pool.submit(confirmed, one.path, one.digest)
            if not one.future.done():
                return None
        try:
            return one.future.result() if one.future else confirmed(one.path, one.digest)
        except FileNotFoundError:
            if now >= one.deadline:
                return GristmillError(
                    f"its record `{one.path}` cannot be seen from the driver after {self.seconds:.0f} s",
                    hint="the node that ran it does not write to the output folder that the driver sees: is"
                    " it mounted there?",
                )
            _nudge(one.path.parent)
            one.future, one.not_before = None, now + one.pause
            one.pause = min(2 * one.pause, _MAX_PAUSE_SECONDS)
            return None
        except Exception as error:
            return error


def _nudge(folder: Path) -> None:
    """Change a folder, so that a network file system's client forgets what it knew of it."""
    if isinstance(folder, RemotePath):
        return
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".look-{secrets.token_hex(6)}"
        path.touch()
        path.unlink()
