"""An owner is a process of one boot and one PID namespace; who cannot be seen lives by a heartbeat."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gristmill.errors import GristmillError, LockedError, UsageError
from gristmill.files import lease
from gristmill.files.cache import Cache
from gristmill.files.lock import LEASE, hold_lock, read_holder
from gristmill.files.owner import is_gone, is_mine, is_tag_gone, owner, tag
from gristmill.files.storage import put_if_absent


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_process_is_gone_only_where_this_one_can_see_it() -> None:
    own = owner()
    assert is_mine(own) and not is_gone(own)
    assert is_gone({**own, "pid": ended_process()})
    assert is_gone({**own, "started": own["started"] + 1})  # the number was given to another process since
    assert not is_gone({**own, "pid": ended_process(), "place": "another namespace"})
    assert not is_mine({**own, "place": "another namespace"})
    assert not is_tag_gone(f"{tag()}+fetch-0")
    place, _, started = tag().split("+")
    assert is_tag_gone(f"{place}+{ended_process()}+{started}+fetch-0")
    assert not is_tag_gone(f"elsewhere+{ended_process()}+{started}+fetch-0")
    assert not is_tag_gone("host+12+fetch-0")


def test_the_live_lease_of_a_container_with_the_same_host_name_is_not_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / LEASE
    other = {**owner(), "place": "another namespace", "pid": ended_process(), "token": "theirs"}
    lock.write_text(json.dumps(other))
    with pytest.raises(LockedError, match=f"in use by a run with pid {other['pid']}"), lease.hold_lease(lock):
        pass
    old = time.time() - 2 * lease.LEASE_SECONDS
    os.utime(lock, (old, old))
    with lease.hold_lease(lock):
        held = lease.read_lease(lock)
        assert held is not None and is_mine(held)
    assert lease.read_lease(lock) is None and not lock.exists()


def test_the_lease_of_a_process_that_surely_is_no_more_is_taken_over_at_once(tmp_path: Path) -> None:
    lock = tmp_path / LEASE
    lock.write_text(json.dumps({**owner(), "pid": ended_process(), "token": "theirs"}))
    with lease.hold_lease(lock):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_on_a_file_system_without_flock_is_held_by_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert read_holder(tmp_path) is None
    with hold_lock(tmp_path):
        assert (read_holder(tmp_path) or {})["pid"] == os.getpid()
        with pytest.raises(LockedError, match=f"in use by a run with pid {os.getpid()}"), hold_lock(tmp_path):
            pass
    assert read_holder(tmp_path) is None


def test_another_error_of_the_lock_is_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    said = r"cannot write `.*\.lock`: Input/output error"
    with pytest.raises(GristmillError, match=said), hold_lock(tmp_path):
        pass


def test_records_are_put_once_on_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "records" / "00000.json"
    assert put_if_absent(path, b"first") and not put_if_absent(path, b"second")
    assert path.read_bytes() == b"first" and [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_cache_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "cache"
    mine.mkdir(mode=0o755)
    assert Cache(mine, 1 << 20).folder.stat().st_mode & 0o777 == 0o700
    theirs = tmp_path / "shared"
    theirs.mkdir()
    theirs.chmod(0o777)
    with pytest.raises(UsageError, match="may be written to by others") as caught:
        Cache(theirs, 1 << 20)
    assert caught.value.hint and "GRISTMILL_CACHE" in caught.value.hint
    (tmp_path / "link").symlink_to(mine)
    with pytest.raises(UsageError, match="is a link or no folder"):
        Cache(tmp_path / "link", 1 << 20)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_a_cache_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(UsageError, match="belongs to another user"):
        Cache(folder, 1 << 20)


def test_a_file_in_the_cache_that_is_not_what_was_entered_is_fetched_again(tmp_path: Path) -> None:
    fetched = []

    def fetch(target: Path) -> None:
        fetched.append(target)
        target.write_bytes(b"whole")

    path = Cache(tmp_path, 1 << 20).get("key", "a.bin", fetch)
    path.write_bytes(b"whale")
    again = Cache(tmp_path, 1 << 20).get("key", "a.bin", fetch)
    assert again.read_bytes() == b"whole" and len(fetched) == 2


def test_a_cache_folder_that_is_a_file_or_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("unmounted")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="is a link or no folder"):
            Cache(tmp_path / name, 1 << 20)
