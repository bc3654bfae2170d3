"""The frames between a task and its extractor process: lengths and bytes, no pickling.

To the process, a batch: u32 number of pages, then each page's header and its bytes. From it, for each page as
soon as it is done: a kind, then JSON of what is said of the page, then the text.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

BATCH = struct.Struct("<I")
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


def write_batch(file: BinaryIO, pages: Sequence[Page]) -> None:
    """Write a batch; many small pieces in one call, payloads as they are."""
    file.write(BATCH.pack(len(pages)))
    for page in pages:
        texts = [
            text.encode("utf-8", "replace")
            for text in (page.url, page.content_type, page.charset, page.content_encoding)
        ]
        file.write(PAGE.pack(*map(len, texts), len(page.payload)) + b"".join(texts))
        file.write(page.payload)
    file.flush()


def read_batch(file: BinaryIO) -> list[Page]:
    """Read a batch; [] at the end of the stream."""
    head = file.read(BATCH.size)
    if len(head) < BATCH.size:
        return []
    pages = []
    for _ in range(BATCH.unpack(head)[0]):
        sizes = PAGE.unpack(file.read(PAGE.size))
        url, content_type, charset, encoding, payload = (file.read(size) for size in sizes)
        pages.append(Page(url.decode(), content_type.decode(), charset.decode(), encoding.decode(), payload))
    return pages
