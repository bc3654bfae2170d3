"""A bounded folder of whole files fetched from elsewhere, shared by all processes of a machine.

A file is entered by renaming, so it is whole or absent. The least recently used go first when the bound is
passed; those used within the last minute stay, for someone is about to open them. Who needs a file for longer
takes a link to it: the bytes then live as long as the link, whatever the cache does.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gristmill.errors import GristmillError, UsageError
from gristmill.files.owner import is_tag_gone, tag

_SPARED_SECONDS = 60.0
_DIGEST = ".sha256"
_LOW_WATER = 0.95  # of the bound, down to which files go once it is passed
_LOOKS = 64  # so small a part of what is free is filled between two looks: other processes fill it, too
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_SECONDS, _WAIT_SECONDS = 60.0, 1.0  # how long a full disk is waited for


class Cache:
    """Fetched files below `folder`, about `max_bytes` of them, and scratch folders that die with their
    process."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        chosen = os.environ.get("GRISTMILL_CACHE")
        own = Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}"
        self.folder = folder or (Path(chosen) if chosen else own)
        self.max_bytes = max_bytes
        self._checked: dict[Path, tuple[int, ...]] = {}
        self._unseen = 0.0  # bytes that may be entered before the folder is looked at again
        self._files, self._scratch = self.folder / "files", self.folder / "scratch"
        for place in (self.folder, self._files, self._scratch):
            with contextlib.suppress(FileExistsError):  # of a file, or a link that leads nowhere
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_private(place)
        self._sweep()

    def get(self, key: str, name: str, fetch: Callable[[Path], None]) -> Path:
        """Return the file of a key, after `fetch` has written it where it is not there yet."""
        path = self._path(key, name)
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            if self._is_whole(path):
                return path
            path.unlink(missing_ok=True)  # damaged here: the store still has it
        deadline = time.monotonic() + _FULL_SECONDS
        while True:
            aside = self.scratch("fetch")
            try:
                fetch(aside / name)
                return self.enter(key, name, aside / name)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                shutil.rmtree(aside, ignore_errors=True)
                self._make_room(deadline, error)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def holds(self, key: str, name: str) -> bool:
        """Whether the file of a key is there."""
        return self._path(key, name).exists()

    def enter(self, key: str, name: str, source: Path) -> Path:
        """Take a finished file in under a key."""
        path = self._path(key, name)
        self._note(path, source)
        size = source.stat().st_size
        try:
            source.replace(path)
        except OSError:  # it lies on another disk
            aside = self.scratch("enter") / name
            shutil.copyfile(source, aside)
            aside.replace(path)
            aside.parent.rmdir()
        self._evict(size)
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
        path = self._scratch / f"{tag()}+{name}-{secrets.token_hex(6)}"
        path.mkdir(parents=True)
        return path

    def kept(self, name: str) -> Path:
        """Return a folder that outlives this process, for work that is resumed on this machine."""
        path = self.folder / "work" / hashlib.sha256(name.encode()).hexdigest()[:32]
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _note(self, path: Path, source: Path) -> None:
        """Write beside a file what it hashes to, before it appears."""
        from gristmill.hashing import sha256_file  # imports Arrow, which a trainer does without

        aside = self.scratch("digest")
        (aside / "digest").write_text(sha256_file(source))
        (aside / "digest").replace(_digest_of(path))
        aside.rmdir()

    def _is_whole(self, path: Path) -> bool:
        """Whether a file is what was entered; looked at once by each process for each content it meets."""
        from gristmill.hashing import sha256_file

        status = path.stat()
        stamp = status.st_ino, status.st_size, status.st_mtime_ns
        if self._checked.get(path, (0, 0))[:2] == stamp[:2]:
            return True
        try:
            whole = _digest_of(path).read_text() == sha256_file(path)
        except FileNotFoundError:
            return False
        if whole:
            self._checked[path] = stamp
        return whole

    def _path(self, key: str, name: str) -> Path:
        return self._files / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{name}"

    def _evict(self, entered: int) -> None:
        """Look at the whole folder again once a part of what was free has been filled: to look at each file
        for every one that is entered would take the longer, the more there are."""
        self._unseen -= entered
        if self._unseen > 0:
            return
        found = []
        with os.scandir(self._files) as entries:
            for entry in entries:
                if not entry.name.endswith(_DIGEST):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        found.append((status.st_mtime, status.st_size, entry.name))
        total = sum(size for _, size, _ in found)
        if total > self.max_bytes:
            for used, size, name in sorted(found):
                if total <= _LOW_WATER * self.max_bytes or time.time() - used < _SPARED_SECONDS:
                    break
                path = self._files / name
                path.unlink(missing_ok=True)
                _digest_of(path).unlink(missing_ok=True)
                total -= size
        self._unseen = max(self.max_bytes - total, (1 - _LOW_WATER) * self.max_bytes) / _LOOKS

    def _make_room(self, deadline: float, error: OSError) -> None:
        """Let go of all that no task holds a link to, or wait for tasks to end; raises GristmillError when
        neither helped in time."""
        freed = in_use = 0
        for path in list(self._files.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if path.suffix == _DIGEST:
                    continue
                if status.st_nlink > 1:
                    in_use += status.st_size
                    continue
                path.unlink()
                _digest_of(path).unlink(missing_ok=True)
                freed += status.st_size
        if freed:
            return
        if time.monotonic() > deadline:
            free = shutil.disk_usage(self.folder).free
            raise GristmillError(
                f"the disk of the cache folder `{self.folder}` is full ({error.strerror}): {free:,} bytes are"
                f" free, and {in_use:,} bytes of the cache are in use by tasks",
                hint="name a folder on a larger disk with `output.cache` or GRISTMILL_CACHE, or run fewer"
                " tasks side by side",
            ) from error
        time.sleep(_WAIT_SECONDS)

    def _sweep(self) -> None:
        """Remove the scratch folders of processes that surely are no more."""
        for path in self._scratch.iterdir():
            if is_tag_gone(path.name):
                shutil.rmtree(path, ignore_errors=True)


def _digest_of(path: Path) -> Path:
    return path.with_name(path.name + _DIGEST)


def _check_private(folder: Path) -> None:
    """Refuse a folder that is another's, or that others may write to: what lies there is believed. One that
    others may read is made private."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        problem = "belongs to another user" if stat.S_ISDIR(status.st_mode) else "is a link or no folder"
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = f"may be written to by others (mode {stat.S_IMODE(status.st_mode):o})"
    else:
        folder.chmod(0o700)
        return
    raise UsageError(
        f"the cache folder `{folder}` {problem}",
        hint="name one of your own with `output.cache` or GRISTMILL_CACHE, or `chmod 700` it if it is yours",
    )
