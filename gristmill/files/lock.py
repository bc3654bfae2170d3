"""One run at a time in an output folder: by flock, or by a lease where the file system has none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gristmill.errors import LockedError
from gristmill.files.disk import named, read_file, storage_error
from gristmill.files.inside import parsed
from gristmill.files.lease import hold_lease, read_lease
from gristmill.files.location import RemotePath
from gristmill.files.owner import owner

LOCK = ".lock"
LEASE = ".lease"  # on file systems without flock
_NO_FLOCK = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextlib.contextmanager
def hold_lock(out: Path) -> Iterator[None]:
    """Hold `out` for this process; on a local disk the kernel lets go when the process dies, however it dies.

    Raises LockedError naming the holder's pid and host.
    """
    if isinstance(out, RemotePath):
        with hold_lease(out / LOCK):
            yield
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, out / LOCK) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_FLOCK:
                with hold_lease(out / LEASE):
                    yield
                return
            if not isinstance(error, BlockingIOError):
                raise storage_error(error, out / LOCK) from error
            holder = read_holder(out) or {"pid": "unknown", "host": "unknown"}  # it may have let go since
            raise LockedError(
                f"`{out}` is in use by a run with pid {holder['pid']} on {holder['host']}",
                hint=(
                    "wait for it, or stop it with Ctrl-C or SIGTERM: it ends within ten seconds and can be"
                    " resumed"
                ),
            ) from error
        with named(out / LOCK):
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps(owner()).encode())
        try:
            yield
        finally:
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def read_holder(out: Path) -> dict[str, object] | None:
    """Return who holds the folder; None when nobody does, whatever a killed run left written there."""
    if isinstance(out, RemotePath):
        return read_lease(out / LOCK)
    try:
        with (out / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return read_lease(out / LEASE)
        if not isinstance(error, BlockingIOError):
            raise
        text = read_file(out / LOCK).decode()
        return _told(text)


def _told(text: str) -> dict[str, Any]:
    """What the holder of a lock wrote into it; nothing that can be read, while it is writing."""
    try:
        found = parsed(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"pid": "unknown", "host": "unknown"}
