"""Outputs at URLs: paths that are URLs, objects put whole, a cache that stays small, a lock without a
kernel."""

from __future__ import annotations

import errno
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill.errors import GristmillError, IntegrityError, LockedError, UsageError
from gristmill.files.cache import Cache
from gristmill.files.location import RemotePath, location, staged, use_storage
from gristmill.files.lock import hold_lock, read_holder
from gristmill.files.owner import owner
from gristmill.files.remote import Access, one_line
from gristmill.files.remote_store import StorageSettings
from gristmill.files.storage import publish, put_if_absent, write_atomic
from gristmill.files.stores import store_of


@pytest.fixture
def out(tmp_path: Path) -> Iterator[RemotePath]:
    import fsspec

    use_storage("memory://out", StorageSettings(cache=str(tmp_path / "cache")))
    yield RemotePath("memory://out/run")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def test_a_url_is_a_path_and_keeps_its_slashes() -> None:
    path = location("s3://bucket/run/") / "steps" / "a.parquet"
    assert str(path) == "s3://bucket/run/steps/a.parquet"
    assert (path.name, path.suffix, str(path.parent)) == ("a.parquet", ".parquet", "s3://bucket/run/steps")
    assert path.relative_to(location("s3://bucket/run")).as_posix() == "steps/a.parquet"
    assert pickle.loads(pickle.dumps(path)) == path
    assert path.is_absolute()
    assert path.resolve() == path


def test_a_local_path_stays_one() -> None:
    assert type(location("out/web")) is type(Path())
    assert location("file:///out/web") == Path("/out/web")
    for wrong in ("simplecache::s3://bucket/run", "s3://", "s3:///"):
        with pytest.raises(UsageError, match="cannot lie at this URL"):
            location(wrong)


def test_what_is_written_is_listed_and_read_by_name(out: RemotePath) -> None:
    assert not out.exists()
    write_atomic(out / "records/map/00000.json", b"{}")
    write_atomic(out / "data/numbers.bin", np.arange(5, dtype="<u4").tobytes())
    assert out.is_dir()
    assert [path.name for path in out.iterdir()] == ["data", "records"]
    assert [str(path) for path in out.glob("records/*/*.json")] == ["memory://out/run/records/map/00000.json"]
    assert (out / "data/numbers.bin").stat().st_size == 20
    assert np.memmap(out / "data/numbers.bin", "<u4", "r").tolist() == [0, 1, 2, 3, 4]
    with (out / "records/map/00000.json").open("rb") as file:
        assert file.read() == b"{}"
    (out / "data/numbers.bin").unlink()
    assert not (out / "data").exists()
    with pytest.raises(FileNotFoundError):
        (out / "data/numbers.bin").read_bytes()


def test_an_output_cannot_be_opened_for_writing(out: RemotePath) -> None:
    with pytest.raises(OSError, match="outputs are put whole"):
        (out / "x").open("wb")


def test_the_first_of_two_writers_wins_put_if_absent(out: RemotePath) -> None:
    assert put_if_absent(out / "x", b"one")
    assert not put_if_absent(out / "x", b"two")
    assert (out / "x").read_bytes() == b"one"


def test_two_attempts_with_the_same_bytes_publish_one_object(out: RemotePath, tmp_path: Path) -> None:
    entries = []
    for attempt in ("a", "b"):
        (tmp_path / attempt).write_bytes(b"same")
        entries.append(publish(tmp_path / attempt, out, "number-map-00000", "number", 1))
    assert entries[0] == entries[1]
    assert [path.name for path in (out / "data").iterdir()] == [f"number-map-00000-{entries[0].sha256[:12]}"]
    assert not list(out.rglob("*.aside"))


def test_a_file_that_changed_since_it_was_hashed_is_not_put(tmp_path: Path) -> None:
    from gristmill.files.s3_uploads import upload_to_s3

    (tmp_path / "x").write_bytes(b"other")

    class Bucket:
        def split_path(self, path: str) -> tuple[str, str, None]:
            return "bucket", path, None

    with pytest.raises(IntegrityError, match="changed while it was uploaded"):
        upload_to_s3(
            Bucket(), "x", tmp_path / "x", "0" * 64, lambda attempt: pytest.fail("nothing may be sent")
        )


@dataclass(frozen=True)
class Shard:
    path: str
    row: int


def test_a_task_is_given_local_links_for_files_folders_and_stems(out: RemotePath, tmp_path: Path) -> None:
    for name in (
        "data/a.bin",
        "model/config.json",
        "model/deep/weights",
        "passing/0.cuts",
        "passing/0.bin",
        "passing/00.bin",
    ):
        write_atomic(out / name, name.encode())
    given = staged(
        {
            "path": str(out / "data/a.bin"),
            "shards": [Shard(str(out / "data/a.bin"), 7)],
            "model": {"folder": str(out / "model")},
            "stem": str(out / "passing/0"),
            "input": "memory://elsewhere/x.warc.gz",
            "number": 3,
        },
        tmp_path / "inputs",
    )
    assert Path(given["path"]).read_bytes() == b"data/a.bin"
    assert given["shards"] == [Shard(given["path"], 7)]
    assert (Path(given["model"]["folder"]) / "deep/weights").read_bytes() == b"model/deep/weights"
    stem = Path(given["stem"])
    assert stem.with_suffix(".cuts").read_bytes() == b"passing/0.cuts"
    assert sorted(path.name for path in stem.parent.iterdir()) == ["0.bin", "0.cuts"]
    assert (given["input"], given["number"]) == ("memory://elsewhere/x.warc.gz", 3)


def test_the_cache_stays_below_its_bound_and_a_link_outlives_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 250)
    paths = []
    for number in range(5):
        path = cache.get(f"key{number}", "x", lambda to: to.write_bytes(b"x" * 100))
        os.utime(path, (time.time() - 1000 + number,) * 2)
        paths.append(path)
        if number == 0:
            cache.link(path, tmp_path / "held")
    assert [path.exists() for path in paths] == [False, False, False, True, True]
    assert (tmp_path / "held").read_bytes() == b"x" * 100
    assert cache.get("key4", "x", lambda to: pytest.fail("it is there")) == paths[4]


def test_entering_a_file_does_not_look_at_all_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if path == tmp_path / "files":
            looks.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    cache = Cache(tmp_path, 1_000_000)
    for number in range(600):
        path = cache.get(f"key{number}", "x", lambda to: to.write_bytes(b"x" * 100))
        os.utime(path, (1e9 + number,) * 2)
    assert 1 <= len(looks) <= 6  # of 600 files that take a sixteenth of the room
    cache.max_bytes = 40_000
    for number in range(600, 1200):
        path = cache.get(f"key{number}", "x", lambda to: to.write_bytes(b"x" * 100))
        os.utime(path, (1e9 + number,) * 2)
    kept = [path for path in (tmp_path / "files").iterdir() if not path.name.endswith(".sha256")]
    assert 38_000 - 100 <= 100 * len(kept) <= 40_000 + 1_000_000 // 64


def test_a_full_disk_lets_go_of_what_no_task_uses_and_then_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache", 10_000)
    held = cache.get("held", "x", lambda to: to.write_bytes(b"x" * 70))
    cache.link(held, tmp_path / "held")
    idle = cache.get("idle", "x", lambda to: to.write_bytes(b"x" * 100))

    def fetch(to: Path) -> None:
        if idle.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        to.write_bytes(b"new")

    assert cache.get("new", "x", fetch).read_bytes() == b"new"
    assert held.exists() and not idle.exists()
    monkeypatch.setattr("gristmill.files.cache._FULL_SECONDS", 0.0)
    monkeypatch.setattr("gristmill.files.cache._WAIT_SECONDS", 0.0)

    def full(to: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(GristmillError, match=r"disk of the cache folder .*cache` is full .* 70 bytes of the"):
        cache.get("more", "x", full)


def test_scratch_of_a_process_that_died_is_swept(tmp_path: Path) -> None:
    code = (
        "from gristmill.files.cache import Cache; from pathlib import Path;"
        f" print(Cache(Path({str(tmp_path)!r}), 1).scratch('t'))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    left = Path(said.stdout.strip())
    assert left.is_dir()
    own = Cache(tmp_path, 1).scratch("t")
    assert (left.exists(), own.exists()) == (False, True)


def test_a_workspace_comes_back_to_who_resumes_on_another_machine(out: RemotePath, tmp_path: Path) -> None:
    with store_of(out).workspace(out / "train/run") as work:
        (work / "log.jsonl").write_text("1\n")
    assert (out / "train/run/log.jsonl").read_bytes() == b"1\n"
    use_storage("memory://out", StorageSettings(cache=str(tmp_path / "other machine")))
    with store_of(out).workspace(out / "train/run") as work:
        assert (work / "log.jsonl").read_text() == "1\n"
        with (work / "log.jsonl").open("a") as file:
            file.write("2\n")
    assert (out / "train/run/log.jsonl").read_bytes() == b"1\n2\n"


def test_a_second_run_in_the_same_output_is_refused_and_named(out: RemotePath) -> None:
    with hold_lock(out):
        assert (read_holder(out) or {})["pid"] == os.getpid()
        with pytest.raises(LockedError, match=f"pid {os.getpid()} on {socket.gethostname()}"), hold_lock(out):
            pass
    assert read_holder(out) is None
    with hold_lock(out):
        pass


@pytest.mark.parametrize("holder", [{**owner(), "pid": 2**22 + 1}, {"host": "elsewhere", "pid": 1}])
def test_the_lock_of_a_killed_run_is_taken_over(
    out: RemotePath, holder: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(out / ".lock", json.dumps({**holder, "token": "x"}).encode())
    if holder["host"] == "elsewhere":
        with pytest.raises(LockedError, match="pid 1 on elsewhere"), hold_lock(out):
            pass
        monkeypatch.setattr("gristmill.files.lease.LEASE_SECONDS", -1.0)
    with hold_lock(out):
        assert json.loads((out / ".lock").read_bytes())["pid"] == os.getpid()


def test_secrets_of_the_options_are_not_spelled() -> None:
    options = {
        "key": "AKIA123456",
        "client_kwargs": {"token": "hunter2hunter2", "region_name": "eu", "endpoint_url": "http://x:1"},
    }
    error = OSError("denied AKIA123456 at http://x:1 with hunter2hunter2 in eu")
    assert one_line(error, options) == "OSError: denied *** at http://x:1 with *** in eu"
    assert "hunter2" not in repr(StorageSettings(Access(options)))
