"""The frames between a task and its extractor process: lengths and bytes, no pickling.

To the process, a batch: u32 number of pages, then each page's header and its texts. Its bytes lie in memory
that both share, end to end, where the batch has room there (a pipe takes three times as long, some 4 % of an
extraction); else they follow the header. From the process, for each page as soon as it is done: a kind, then
JSON of what is said of the page, then the text.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

SHARED_BYTES = 8 << 20  # a batch of pages has 4 MB, and its last page what it has
BATCH = struct.Struct("<I?")  # pages, whether their payloads lie in shared memory
PAGE = struct.Struct("<IIIII")  # bytes of: url, content type, charset, content encoding, payload
RESULT = struct.Struct("<BII")  # kind, bytes of JSON, bytes of text

READY, TEXT, FAILED, LANGUAGE, REMOVED = range(5)


@dataclass(frozen=True, slots=True)
class Page:
    """What the extractor's process is given of a record."""

    url: str
    content_type: str
    charset: str
    content_encoding: str
    payload: bytes


def share() -> int:
    """Return the descriptor of memory for payloads, which the caller closes; -1 where the system gives
    none."""
    if sys.platform != "linux":
        return -1
    try:
        descriptor = os.memfd_create("gristmill pages")
    except OSError:
        return -1
    try:
        os.ftruncate(descriptor, SHARED_BYTES)
    except OSError:  # no file may be as large (`ulimit -f`)
        os.close(descriptor)
        return -1
    return descriptor


def shared_memory(descriptor: int, *, writes: bool) -> mmap.mmap | None:
    """Map the memory of a descriptor; None where there is none, or no room for it."""
    if descriptor < 0:
        return None
    try:
        return mmap.mmap(descriptor, SHARED_BYTES, access=mmap.ACCESS_WRITE if writes else mmap.ACCESS_READ)
    except OSError:
        return None


def write_batch(file: BinaryIO, pages: Sequence[Page], shared: mmap.mmap | None = None) -> None:
    """Write a batch when the one before was read and answered; many small pieces in one call, payloads as
    they are."""
    if shared is not None and sum(len(page.payload) for page in pages) > len(shared):
        shared = None
    file.write(BATCH.pack(len(pages), shared is not None))
    at = 0
    for page in pages:
        texts = [
            text.encode("utf-8", "replace")
            for text in (page.url, page.content_type, page.charset, page.content_encoding)
        ]
        file.write(PAGE.pack(*map(len, texts), len(page.payload)) + b"".join(texts))
        if shared is None:
            file.write(page.payload)
        else:
            shared[at : at + len(page.payload)] = page.payload
            at += len(page.payload)
    file.flush()


def read_batch(file: BinaryIO, shared: mmap.mmap | None = None) -> list[Page]:
    """Read a batch; [] at the end of the stream."""
    head = file.read(BATCH.size)
    if len(head) < BATCH.size:
        return []
    num_pages, is_shared = BATCH.unpack(head)
    pages, at = list[Page](), 0
    for _ in range(num_pages):
        *sizes, num_bytes = PAGE.unpack(file.read(PAGE.size))
        url, content_type, charset, encoding = (file.read(size).decode() for size in sizes)
        if is_shared:
            assert shared is not None
            payload, at = shared[at : at + num_bytes], at + num_bytes
        else:
            payload = file.read(num_bytes)
        pages.append(Page(url, content_type, charset, encoding, payload))
    return pages
