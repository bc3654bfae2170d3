"""Inputs that lie elsewhere: the same records as from a local disk, whatever the network does on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import InputError, UsageError
from gristmill.files.remote import Access
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import Item, RangeEnd, Record
from gristmill.pipeline.sources.remote import with_retries
from tests.support import object_store
from tests.support.archives import failures, member, read_all, record, records, source_of
from tests.support.faulty_proxy import FAULTS, FaultyProxy

NUM_RECORDS = 60


def archive() -> bytes:
    return b"".join(member(record(number)) for number in range(NUM_RECORDS))


def read_remote(pattern: str, shard_bytes: int = 5000, **settings: Any) -> list[Item]:
    source = source_of(pattern, **settings)
    return [item for shard in plan_shards(source, shard_bytes) for item in read_records(shard, source)]


def without_place(items: list[Item]) -> list[Item]:
    """Drop what differs by place: the file's name, and where ranges ended."""
    return [
        replace(item, origin=replace(item.origin, file="")) if isinstance(item, Record) else item
        for item in items
        if not isinstance(item, RangeEnd)
    ]


def test_a_remote_archive_is_listed_split_and_read_like_a_local_one(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a.warc.gz", archive())
    memory.pipe("/bucket/b.warc.gz", archive())
    (tmp_path / "a.warc.gz").write_bytes(archive())
    items = read_remote("memory://bucket/a.*")
    assert without_place(items) == without_place(read_all(tmp_path / "a.warc.gz"))
    assert records(items)[0].origin.file == "memory:///bucket/a.warc.gz"
    assert len(records(read_remote("memory://bucket/*.warc.gz"))) == 2 * NUM_RECORDS
    memory.rm("/bucket", recursive=True)


def test_an_object_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match="FileNotFoundError"):
        read_remote("memory://bucket/no.warc.gz")
    with pytest.raises(UsageError, match="no object matches an input"):
        read_remote("memory://bucket/*.warc.gz")


def test_an_unknown_kind_of_url_is_named() -> None:
    with pytest.raises(UsageError, match="cannot use this kind of URL"):
        read_remote("nosuchscheme://bucket/a.warc.gz")


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        read_remote("ftp://user:hunter2@host.invalid/a.warc.gz")
    assert "put it into `storage_options`" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_reads_are_tried_again_but_not_for_ever() -> None:
    calls = 0

    def attempt(timeout: Any) -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionResetError("by peer")
        return "done"

    assert with_retries(attempt, "x", Access({}, attempts=3), None) == "done"
    calls = -10
    with pytest.raises(
        InputError, match="cannot read an input after 2 attempts: ConnectionResetError: by peer"
    ):
        with_retries(attempt, "x", Access({}, attempts=2), None)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    for url in object_store.serve("crawl"):
        object_store.client(url).put_object(Bucket="crawl", Key="2025/a.warc.gz", Body=archive())
        yield url


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_every_fault_of_an_object_store_is_survived(tmp_path: Path, store: str, fault: str) -> None:
    (tmp_path / "a.warc.gz").write_bytes(archive())
    wanted = without_place(read_all(tmp_path / "a.warc.gz"))
    with FaultyProxy(store, fault) as proxy:
        options = object_store.options(proxy.url)
        items = read_remote("s3://crawl/2025/*.warc.gz", storage_options=options, request_seconds=1.0)
        assert without_place(items) == wanted
        assert not failures(items)
        assert bool(proxy.num_faults) == bool(fault)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_object_store_that_never_answers_ends_in_an_error(store: str) -> None:
    with FaultyProxy(store, "503", period=10**9) as proxy:
        options = object_store.options(proxy.url)
        with pytest.raises(InputError, match="cannot read an input after 2 attempts"):
            read_remote(
                "s3://crawl/2025/a.warc.gz", storage_options=options, request_seconds=5.0, request_attempts=2
            )
