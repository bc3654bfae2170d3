"""Batches of pages go to the extractor's process whole, by shared memory or by the pipe."""

from __future__ import annotations

import io
import os
import resource
import sys
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

import pytest

from gristmill.errors import GristmillError
from gristmill.pipeline.extract import running
from gristmill.pipeline.extract.child import Child
from gristmill.pipeline.extract.frames import (
    SHARED_BYTES,
    Page,
    read_batch,
    share,
    shared_memory,
    write_batch,
)
from gristmill.pipeline.extract.settings import ExtractSettings


def pages(*sizes: int) -> list[Page]:
    return [
        Page(
            f"https://a.example/{number}", "text/html", "utf-8" if number % 2 else "", "", bytes([number]) * n
        )
        for number, n in enumerate(sizes)
    ]


@pytest.fixture
def both_ends() -> Iterator[tuple[mmap, mmap]]:
    if sys.platform != "linux":
        pytest.skip("memory without a name is Linux's")
    descriptor = share()
    ends = shared_memory(descriptor, writes=True), shared_memory(descriptor, writes=False)
    os.close(descriptor)
    assert ends[0] is not None and ends[1] is not None
    yield ends[0], ends[1]
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    "sizes", [(), (0,), (5, 0, 70_000), (SHARED_BYTES,), (SHARED_BYTES, 1), (SHARED_BYTES + 1,)]
)
def test_a_batch_comes_out_as_it_went_in(both_ends: tuple[mmap, mmap], sizes: tuple[int, ...]) -> None:
    sent, there = pages(*sizes), sum(sizes) <= SHARED_BYTES
    for ends in (both_ends, (None, None)):
        pipe = io.BytesIO()
        write_batch(pipe, sent, ends[0])
        assert (pipe.tell() < 200 * (len(sent) + 1)) == (sum(sizes) < 100 or (there and ends[0] is not None))
        pipe.seek(0)
        assert read_batch(pipe, ends[1]) == sent
        assert read_batch(pipe, ends[1]) == []


def test_a_smaller_batch_behind_a_larger_one_has_its_own_bytes(both_ends: tuple[mmap, mmap]) -> None:
    pipe = io.BytesIO()
    for sent in (pages(1000, 2000), pages(3)[::-1]):
        pipe.seek(0)
        write_batch(pipe, sent, both_ends[0])
        pipe.seek(0)
        assert read_batch(pipe, both_ends[1]) == sent


def test_a_process_reads_pages_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "<p>A plain paragraph of ordinary words, long enough to be taken for the text of a page.</p>"
    body = f"<html><body><article>{text * 8}<!--".encode()
    sent = [
        Page(
            f"https://a.example/{n}",
            "text/html",
            "utf-8",
            "",
            body + b"x" * n + b"--></article></body></html>",
        )
        for n in (10, SHARED_BYTES // 2, SHARED_BYTES)
    ]
    found = []
    for shares in (share, lambda: -1):
        monkeypatch.setattr(running, "share", shares)
        with Child(ExtractSettings(extractor="resiliparse", max_page_bytes=4 * SHARED_BYTES)) as child:
            found.append(
                [result.text for part in (sent[:1], sent[:2], sent) for result in child.extract(part)]
            )
    assert found[0] == found[1] and len(found[0]) == 6 and all("plain paragraph" in one for one in found[0])


def test_a_process_that_is_not_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    before = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    for _ in range(3):
        with Child(ExtractSettings(extractor="resiliparse")) as child:
            with pytest.raises(GristmillError, match=r"`resiliparse` does not start: .*No such file") as told:
                next(child.extract(pages(1)))
            assert "ulimit -a" in str(told.value)
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_pages_go_by_the_pipe_where_no_file_may_be_as_large_as_the_memory() -> None:
    if sys.platform != "linux":
        pytest.skip("memory without a name is Linux's")
    before, limits = len(list(Path("/proc/self/fd").iterdir())), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SHARED_BYTES // 2, limits[1]))
    try:
        assert share() == -1 and shared_memory(-1, writes=True) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
