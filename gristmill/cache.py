"""A bounded folder of whole files fetched from elsewhere, shared by all processes of a machine.

A file is entered by renaming, so it is whole or absent. The least recently used go first when the bound is
passed; those used within the last minute stay, for someone is about to open them. Who needs a file for longer
takes a link to it: the bytes then live as long as the link, whatever the cache does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_SPARED_SECONDS = 60.0


class Cache:
    """Fetched files below `folder`, about `max_bytes` of them, and scratch folders that die with their
    process."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        chosen = os.environ.get("GRISTMILL_CACHE")
        own = Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}"
        self.folder = folder or (Path(chosen) if chosen else own)
        self.max_bytes = max_bytes
        self._files, self._scratch = self.folder / "files", self.folder / "scratch"
        for place in (self.folder, self._files, self._scratch):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def get(self, key: str, name: str, fetch: Callable[[Path], None]) -> Path:
        """Return the file of a key, after `fetch` has written it where it is not there yet."""
        path = self._path(key, name)
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return path
        aside = self.scratch("fetch")
        try:
            fetch(aside / name)
            return self.enter(key, name, aside / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def enter(self, key: str, name: str, source: Path) -> Path:
        """Take a finished file in under a key."""
        path = self._path(key, name)
        try:
            source.replace(path)
        except OSError:  # it lies on another disk
            aside = self.scratch("enter") / name
            shutil.copyfile(source, aside)
            aside.replace(path)
            aside.parent.rmdir()
        self._evict()
        return path

    def link(self, source: Path, into: Path) -> None:
        """Let `into` be the same file, for as long as `into` lives."""
        into.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, into)
        except OSError:
            shutil.copyfile(source, into)

    def scratch(self, name: str) -> Path:
        """Make an empty folder for this process to write in."""
        path = self._scratch / f"{socket.gethostname()}+{os.getpid()}+{name}-{secrets.token_hex(6)}"
        path.mkdir(parents=True)
        return path

    def kept(self, name: str) -> Path:
        """Return a folder that outlives this process, for work that is resumed on this machine."""
        path = self.folder / "work" / hashlib.sha256(name.encode()).hexdigest()[:32]
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _path(self, key: str, name: str) -> Path:
        return self._files / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{name}"

    def _evict(self) -> None:
        found = []
        for path in self._files.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if total <= self.max_bytes or time.time() - used < _SPARED_SECONDS:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _sweep(self) -> None:
        """Remove the scratch folders of processes of this machine that are no more."""
        for path in self._scratch.iterdir():
            host, _, rest = path.name.partition("+")
            pid = rest.partition("+")[0]
            if host == socket.gethostname() and pid.isdecimal() and not is_alive(int(pid)):
                shutil.rmtree(path, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
