"""One run at a time where no kernel lets go of a lock for a process that died: on remote storage, and on file
systems without flock.

The lock is a file put if absent that names its holder, who puts it anew every quarter of a minute. One that
was not renewed for a minute, or whose process surely is no more, may be taken over; a holder that this
machine cannot see lives as long as its heartbeat. Ages are told by this machine's clock against the store's;
even if two runs were at work at once, each commit is whole, and they would do the same work twice.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gristmill.errors import GristmillError, LockedError
from gristmill.files.inside import parsed
from gristmill.files.location import RemotePath
from gristmill.files.owner import is_gone, is_mine, owner
from gristmill.files.stores import store_of

LEASE_SECONDS = 60.0
_RENEW_SECONDS = 15.0

_held: set[str] = set()  # tokens of the locks that this process holds


@contextlib.contextmanager
def hold_lease(lock: Path) -> Iterator[None]:
    """Hold the lock for this process and renew it meanwhile; raises LockedError naming the holder."""
    own: dict[str, Any] = {**owner(), "token": secrets.token_hex(8)}
    store, data = store_of(lock), json.dumps(own).encode()
    if not store.put_if_absent(lock, data):
        holder = read_lease(lock)
        if holder is not None:
            raise LockedError(
                f"`{lock.parent}` is in use by a run with pid {holder['pid']} on {holder['host']}",
                hint=(
                    f"wait for it, or stop it; if it was killed, its lock ends {LEASE_SECONDS:.0f} seconds"
                    " after"
                ),
            )
        with contextlib.suppress(FileNotFoundError):
            store.remove_files([lock])
        store.put_if_absent(lock, data)
    if _holder(lock) != own:  # a store without conditional writes lets two put at once
        raise LockedError(f"`{lock.parent}` was taken by another run just now")
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEW_SECONDS):
            with contextlib.suppress(
                GristmillError, OSError
            ):  # a store that does not answer is told where work is done
                store.write(lock, data)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    _held.add(own["token"])
    try:
        yield
    finally:
        _held.discard(own["token"])
        over.set()
        thread.join()
        with contextlib.suppress(GristmillError, OSError):
            if _holder(lock) == own:
                store.remove_files([lock])


def read_lease(lock: Path) -> dict[str, Any] | None:
    """Return who holds the lock; None when nobody does, or a run that was killed."""
    modified, holder = _modified(lock), _holder(lock)
    if modified is None or holder is None:
        return None
    if is_mine(holder) and holder["token"] not in _held:
        return None  # the store did not answer when it was let go
    if is_gone(holder):
        return None
    return holder if time.time() - modified < LEASE_SECONDS else None


def _modified(lock: Path) -> float | None:
    if isinstance(lock, RemotePath):
        info = lock.store.info(lock)
        return info.modified if info else None
    try:
        return lock.stat().st_mtime
    except FileNotFoundError:
        return None


def _holder(lock: Path) -> dict[str, Any] | None:
    try:
        return dict(parsed(lock.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
