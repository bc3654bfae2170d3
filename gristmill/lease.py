"""One run at a time in an output on remote storage, where no kernel lets go of a lock for a process that
died.

The lock is an object put if absent that names its holder, who puts it anew every quarter of a minute. One
that was not renewed for a minute, or whose process on this machine is gone, may be taken over. Ages are told
by this machine's clock against the store's; even if two runs were at work at once, each commit is whole, and
they would do the same work twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from gristmill.cache import is_alive
from gristmill.errors import GristmillError, LockedError
from gristmill.location import RemotePath

LEASE_SECONDS = 60.0
_RENEW_SECONDS = 15.0

_held: set[str] = set()  # tokens of the locks that this process holds


@contextlib.contextmanager
def hold_lease(lock: RemotePath) -> Iterator[None]:
    """Hold the lock for this process and renew it meanwhile; raises LockedError naming the holder."""
    own: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname(), "token": secrets.token_hex(8)}
    store, data = lock.store, json.dumps(own).encode()
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
        store.remove(lock)
        if not store.put_if_absent(lock, data):
            raise LockedError(f"`{lock.parent}` was taken by another run just now")
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEW_SECONDS):
            with contextlib.suppress(
                GristmillError
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
        with contextlib.suppress(GristmillError):
            if _holder(lock) == own:
                store.remove(lock)


def read_lease(lock: RemotePath) -> dict[str, Any] | None:
    """Return who holds the lock; None when nobody does, or a run that was killed."""
    info = lock.store.info(lock)
    holder = _holder(lock) if info else None
    if info is None or holder is None:
        return None
    if holder["host"] == socket.gethostname():
        left_behind = (
            holder["pid"] == os.getpid() and holder["token"] not in _held
        )  # the store did not answer when it was let go
        if left_behind or not is_alive(int(holder["pid"])):
            return None
    return holder if time.time() - info.modified < LEASE_SECONDS else None


def _holder(lock: RemotePath) -> dict[str, Any] | None:
    try:
        return dict(json.loads(lock.read_bytes()))
    except (FileNotFoundError, ValueError):
        return None
