"""The stores that outputs are put into: a file system of this machine, or remote storage behind the same few
methods."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gristmill.files.disk import named, read_file, storage_error
from gristmill.files.location import RemotePath
from gristmill.files.remote_store import Info, Stretch, whole_stretch
from gristmill.files.s3_uploads import Leftover

T = TypeVar("T")


class Store(Protocol):
    """What outputs are put into: a file system of this machine, or remote storage. Paths are below an output
    folder."""

    def scratch(self, folder: Path, name: str) -> Path:
        """Make a local folder for one attempt at a task of the step in `folder`."""

    def clear_scratch(self, folder: Path) -> None:
        """Remove what killed attempts left."""

    def place(self, source: Path, target: Path, sha256: str) -> None:
        """Make a finished local file appear at `target`, whole; it is no longer at `source`."""

    def write(self, path: Path, data: bytes) -> None:
        """Replace a file's content so that a reader sees the old bytes or the new ones, never a mixture."""

    def put_if_absent(self, path: Path, data: bytes, *, settled: bool = True) -> bool:
        """Create a file unless it is there; where it need not be `settled`, its name may be lost with power
        until `settle`."""

    def settle(self, folder: Path) -> None:
        """Make sure that the names of the files in a folder outlive a loss of power."""

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all below it."""

    def remove_files(self, paths: Sequence[Path]) -> None:
        """Remove files by name; those that are not there are no error."""

    def read_all(self, paths: Sequence[Path]) -> Iterator[bytes]:
        """Read many small files, in order."""

    def read_stretches(self, stretches: Sequence[Stretch]) -> Iterator[bytes]:
        """Read a stretch of each of many files, in order; no file is copied whole for it.

        Raises IntegrityError for a file that ends before.
        """

    def is_near(self, path: Path) -> bool:
        """Whether a published file lies on this machine, so that to read it asks nobody."""

    def side_by_side(self, ask: Callable[[Any], T], many: Sequence[Any]) -> Iterator[T]:
        """Ask for many things and yield the answers in order: several at a time, where each is a request."""

    def find_below(self, folder: Path, names: Sequence[str]) -> dict[str, Info]:
        """What the store says of those files named below a folder that are there."""

    def read_anew(self, path: Path, info: Info) -> Path:
        """Return a local file with what lies in the store now, as `find_below` told, whatever a cache
        holds."""

    def check_rights(self, folder: Path) -> None:
        """Raise where the store refuses what a run needs."""

    def unfinished(self, folder: Path) -> list[Leftover]:
        """List what was being put below `folder` when its writer died."""

    def workspace(self, folder: Path) -> AbstractContextManager[Path]:
        """Lend a local folder for work that goes on for long and is resumed; what is in it lies in `folder`
        afterwards."""


class LocalStore:
    """A file system: files are moved into place after they were synced."""

    def scratch(self, folder: Path, name: str) -> Path:
        path = folder / ".scratch" / name
        path.mkdir(parents=True)
        return path

    def clear_scratch(self, folder: Path) -> None:
        shutil.rmtree(folder / ".scratch", ignore_errors=True)

    def place(self, source: Path, target: Path, sha256: str) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)  # the folder is synced once, before the record that names the file is put

    def write(self, path: Path, data: bytes) -> None:
        aside = _write_aside(path, data)
        aside.replace(path)
        fsync_folder(path.parent)

    def put_if_absent(self, path: Path, data: bytes, *, settled: bool = True) -> bool:
        aside = _write_aside(path, data)
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise storage_error(error, path) from error
            if path.exists():
                return False
            aside.replace(path)  # two attempts at a task put records that differ in timings alone
        finally:
            aside.unlink(missing_ok=True)
        if settled:
            fsync_folder(path.parent)
        return True

    def settle(self, folder: Path) -> None:
        if folder.is_dir():
            fsync_folder(folder)

    def remove(self, path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove_files(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def read_all(self, paths: Sequence[Path]) -> Iterator[bytes]:
        return map(read_file, paths)

    def read_stretches(self, stretches: Sequence[Stretch]) -> Iterator[bytes]:
        for path, start, stop in stretches:
            with named(path), path.open("rb") as file:
                file.seek(start)
                yield whole_stretch(path, start, stop, file.read(stop - start))

    def is_near(self, path: Path) -> bool:
        return True

    def side_by_side(self, ask: Callable[[Any], T], many: Sequence[Any]) -> Iterator[T]:
        return map(ask, many)

    def find_below(self, folder: Path, names: Sequence[str]) -> dict[str, Info]:
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = (folder / name).stat()
                found[name] = Info(status.st_size, "", status.st_mtime, is_folder=False)
        return found

    def read_anew(self, path: Path, info: Info) -> Path:
        return path

    def check_rights(self, folder: Path) -> None:
        """Told where the lock is taken."""

    def unfinished(self, folder: Path) -> list[Leftover]:
        asides = sorted(path for path in folder.rglob(".*.aside") if path.is_file())
        return [
            Leftover(str(path), path.stat().st_size, partial(path.unlink, missing_ok=True)) for path in asides
        ]

    @contextlib.contextmanager
    def workspace(self, folder: Path) -> Iterator[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


_LOCAL = LocalStore()
# What file systems without hard links say: exFAT and some FUSE and network file systems.
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


def store_of(path: Path) -> Store:
    """Return the store that a path lies in."""
    return path.store if isinstance(path, RemotePath) else _LOCAL


def write_text(path: Path, text: str) -> None:
    """Replace a file's content as a whole, in UTF-8; nothing but Python is needed, so the trainer has it."""
    store_of(path).write(path, text.encode())


def _write_aside(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.{secrets.token_hex(6)}.aside"
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise storage_error(error, path) from error
    return aside


def fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


fsync_folder = fsync_file
