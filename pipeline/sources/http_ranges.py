"""Ranges of files behind HTTP, refused at the first line of an answer that would bring too much.

fsspec's own read takes the whole body before anyone can look at it: of a server that ignores ranges that is
the file, whatever its size, for each block of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gristmill.files.remote import check_whole


def is_http(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "http" in ((protocol,) if isinstance(protocol, str) else protocol)


def read_range(
    filesystem: Any, url: str, timeout: Mapping[str, float], start: int, end: int, most_whole: int
) -> bytes:
    """Read bytes [start, end), or the whole of at most `most_whole` bytes from a server that ignores ranges;
    raises NotImplementedError where it would send more."""
    from fsspec.asyn import sync

    return sync(filesystem.loop, _read, filesystem, url, start, end, most_whole, **timeout)  # type: ignore[no-any-return]


async def _read(filesystem: Any, url: str, start: int, end: int, most_whole: int) -> bytes:
    if start >= end:
        return b""
    options = dict(filesystem.kwargs)
    headers = {**options.pop("headers", {}), "Range": f"bytes={start}-{end - 1}"}
    session = await filesystem.set_session()
    async with session.get(filesystem.encode_url(url), headers=headers, **options) as answer:
        filesystem._raise_not_found_for_status(answer, url)
        length = answer.content_length
        if answer.status == 200 and length is not None:
            check_whole(length, end - start, most_whole)
        return bytes(await answer.read())
