"""Small web archives made byte by byte, so that each can be broken where a test wants it broken."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.record import (
    Failure,
    InputRange,
    InputShard,
    Item,
    NotDocument,
    RangeEnd,
    Record,
)
from gristmill.pipeline.sources.settings import SourceSettings


def http(
    body: bytes, status: str = "200 OK", content_type: str = "text/html; charset=utf-8", extra: str = ""
) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def record(
    number: int,
    block: bytes | None = None,
    kind: str = "response",
    length: int | None = None,
    extra: str = "",
) -> bytes:
    if block is None:
        block = http(page(number))
    content_type = "application/http; msgtype=response" if kind == "response" else "text/plain"
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\nWARC-Date:"
        " 2025-01-02T03:04:05Z\r\nWARC-Target-URI:"
        f" https://site{number % 7}.example/page/{number}\r\nContent-Type:"
        f" {content_type}\r\n{extra}Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def page(number: int, num_paragraphs: int = 3) -> bytes:
    text = (
        "The mill by the river ground wheat and rye for the whole valley, and number {} of its stones is"
        " still there."
    )
    paragraphs = "".join(f"<p>{text.format(number * 10 + at)}</p>" for at in range(num_paragraphs))
    head = f"<!doctype html><html><head><title>Page {number}</title></head>"
    return f"{head}<body><article>{paragraphs}</article></body></html>".encode()


def member(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def whole(path: Path) -> InputRange:
    status = path.stat()
    return InputRange(str(path), status.st_size, str(status.st_mtime_ns), 0, status.st_size)


def source_of(path: Path | str, **settings: Any) -> SourceSettings:
    return SourceSettings(inputs=[str(path)], **settings)


def read_all(path: Path, format_: str = "warc", **settings: Any) -> list[Item]:
    return list(read_records(InputShard(format_, (whole(path),)), source_of(path, **settings)))


def read_split(path: Path, shard_bytes: int, **settings: Any) -> list[Item]:
    source = source_of(path, **settings)
    return [item for shard in plan_shards(source, shard_bytes) for item in read_records(shard, source)]


def records(items: list[Item]) -> list[Record]:
    return [item for item in items if isinstance(item, Record)]


def failures(items: list[Item]) -> list[Failure]:
    return [item for item in items if isinstance(item, Failure)]


def others(items: list[Item]) -> list[NotDocument]:
    return [item for item in items if isinstance(item, NotDocument)]


def ends(items: list[Item]) -> list[RangeEnd]:
    return [item for item in items if isinstance(item, RangeEnd)]
