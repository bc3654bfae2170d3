"""Errors of the operating system: they name the file they are about, and say what to do where a disk is
full."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gristmill.errors import GristmillError, IntegrityError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FREE_SOME = (
    "free some space (`gristmill gc OUT` removes what no manifest names), then run the same command: it"
    " resumes"
)


@contextmanager
def named(path: Path | str) -> Iterator[None]:
    """Let what the system says of an open file (a read, a write, a sync) name that file: it names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def must_be_file(path: Path) -> None:
    """Raise IntegrityError for a pipe, socket or device, also behind a link: a read of it would wait or never
    end, in a folder that somebody else wrote."""
    try:
        mode = os.stat(str(path)).st_mode  # noqa: PTH116 - of this machine: no store is asked
    except OSError:
        return  # for whoever opens it to say
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise IntegrityError(
            f"`{path}` is a pipe, socket or device, not a file",
            hint="it was not written by gristmill: do not use its folder; name a file for a list or model",
        )


def open_file(path: Path | str) -> int:
    """Open a file for reading and return its descriptor; raises OSError for a pipe, socket, device or folder.

    It may have come in the place of a file since that was looked at, and to open a pipe would wait for
    somebody who writes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a pipe, socket, device or folder, not a file", str(path))


def read_file(path: Path) -> bytes:
    """Read a small file whole; raises IntegrityError for what is no file."""
    must_be_file(path)
    with named(path):
        return path.read_bytes()


def copy_file(source: Path, target: Path) -> None:
    """Copy what a file holds to a new one."""
    with named(source):
        shutil.copyfile(source, target)


def space_hint(error: BaseException) -> str | None:
    """What to do where an error says that there is no space left."""
    return _FREE_SOME if isinstance(error, OSError) and error.errno in _FULL else None


def storage_error(error: OSError, path: Path) -> GristmillError:
    """Turn an operating-system error on an output into one that says what to do."""
    if error.errno in _FULL:
        free = ""
        with suppress(OSError):
            stats = os.statvfs(path.parent)
            free = f": {stats.f_bavail * stats.f_frsize:,} bytes are free"
        return GristmillError(f"no space left to write `{path}`{free}", hint=_FREE_SOME)
    return GristmillError(f"cannot write `{path}`: {error.strerror or error}")
