"""A local folder for work that goes on for long, such as training, whose output lies on remote storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from gristmill.errors import GristmillError
from gristmill.files.inside import below

_MIRROR_SECONDS = 30.0


class _Info(Protocol):
    @property
    def modified(self) -> float: ...


class _Store(Protocol):
    def walk(self, folder: str) -> Mapping[str, _Info]: ...

    def download(self, url: str, target: Path) -> None: ...

    def upload(self, source: Path, url: str) -> object: ...


@contextmanager
def borrowed(store: _Store, url: str, folder: Path) -> Iterator[Path]:
    """Bring a folder up to date with what lies below a URL, and copy there what changes in it, now and then
    and at the end.

    Of a file that is on both sides the newer one stays: a killed run may have left the folder ahead, another
    machine behind.
    """
    seen: dict[Path, tuple[int, int]] = {}
    for name, info in store.walk(url).items():
        path = below(folder, name.removeprefix(f"{url}/"))
        if not (path.exists() and path.stat().st_mtime >= info.modified):
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download(name, path)
            seen[path] = _stamp(path)
    over = threading.Event()

    def mirror() -> None:
        while not over.wait(_MIRROR_SECONDS):
            with suppress(GristmillError, OSError):  # the last copy, at the end, tells
                _copy_changed(store, url, folder, seen, time.time() - _MIRROR_SECONDS / 2)

    thread = threading.Thread(target=mirror, name="mirror", daemon=True)
    thread.start()
    try:
        yield folder
    finally:
        over.set()
        thread.join()
        _copy_changed(store, url, folder, seen, time.time())


def _copy_changed(
    store: _Store, url: str, folder: Path, seen: dict[Path, tuple[int, int]], before: float
) -> None:
    """Upload the files that changed since they were last, leaving out those that were written to after
    `before`."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        stamp = _stamp(path)
        if seen.get(path) != stamp and stamp[1] <= before * 1e9:
            store.upload(path, f"{url}/{path.relative_to(folder).as_posix()}")
            seen[path] = stamp


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
