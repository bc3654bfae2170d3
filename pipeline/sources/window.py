"""Random access to the bytes of one input, a block at a time, wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gristmill.errors import InputError
from gristmill.files.disk import open_file
from gristmill.pipeline.sources.record import InputRange

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

_LOCAL_BLOCK_BYTES = 1 << 20
_REMOTE_BLOCK_BYTES = 8 << 20
_NUM_BLOCKS = 4  # a scanner looks back at most a member, and a record rarely spans more than two blocks


class ByteWindow:
    """The bytes of one input. `fetch(start, end)` returns them, fewer only at the end of the file."""

    def __init__(self, path: str, size: int, fetch: Callable[[int, int], bytes], block_bytes: int) -> None:
        self.path, self.size = path, size
        self._fetch, self._block_bytes = fetch, block_bytes
        self._blocks: dict[int, bytes] = {}  # insertion order is age

    def read(self, offset: int, num_bytes: int) -> bytes:
        """Return up to `num_bytes` from `offset`: fewer at a block's end, none only at the end of the
        file."""
        if offset >= self.size:
            return b""
        number, at = divmod(offset, self._block_bytes)
        return self._block(number)[at : at + num_bytes]

    def head(self, num_bytes: int) -> bytes:
        """Return the first bytes of the file; of one that is read from elsewhere, without fetching its whole
        first block."""
        return self._blocks[0][:num_bytes] if 0 in self._blocks else self._fetch(0, min(num_bytes, self.size))

    def read_exactly(self, offset: int, num_bytes: int) -> bytes:
        """Return `num_bytes` from `offset`, fewer only at the end of the file."""
        pieces = []
        while num_bytes > 0 and (piece := self.read(offset, num_bytes)):
            pieces.append(piece)
            offset += len(piece)
            num_bytes -= len(piece)
        return b"".join(pieces)

    def find(self, needle: bytes, offset: int, before: int | None = None) -> int:
        """Return where `needle` next occurs at or after `offset`, or -1; one that starts at `before` or later
        does not count."""
        overlap = len(needle) - 1
        end = self.size if before is None else min(before + overlap, self.size)
        while offset < end:
            piece = self.read_exactly(offset, min(self._block_bytes, end - offset))
            if (at := piece.find(needle)) >= 0:
                return offset + at
            if len(piece) <= overlap:
                return -1
            offset += len(piece) - overlap
        return -1

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            start = number * self._block_bytes
            block = self._fetch(start, min(start + self._block_bytes, self.size))
            if len(self._blocks) >= _NUM_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[number] = block
        return block


@contextmanager
def open_window(source: InputRange, settings: SourceSettings) -> Iterator[ByteWindow]:
    """Open an input for reading; it must still be what was planned."""
    if "://" in source.path:
        from gristmill.pipeline.sources.remote import check_unchanged, fetcher

        yield ByteWindow(source.shown, source.size, fetcher(source, settings.access()), _REMOTE_BLOCK_BYTES)
        check_unchanged(source, settings.access())
        return
    try:
        descriptor = open_file(source.path)
    except OSError as error:
        raise InputError(f"cannot read an input: {error.strerror}", where=source.shown) from error
    try:
        status = os.fstat(descriptor)
        if (status.st_size, str(status.st_mtime_ns)) != (source.size, source.version):
            raise _changed(source, status.st_size)
        yield ByteWindow(
            source.shown,
            source.size,
            lambda start, end: _pread(descriptor, source.path, start, end),
            _LOCAL_BLOCK_BYTES,
        )
        after = os.fstat(descriptor)
        same_links = after.st_nlink == status.st_nlink  # a name given or taken touches the inode, too
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns) or (
            same_links and after.st_ctime_ns != status.st_ctime_ns
        ):
            raise _changed(source, after.st_size)
    finally:
        os.close(descriptor)


def _changed(source: InputRange, num_bytes: int) -> InputError:
    return InputError(
        f"an input changed since the run was planned: {source.size} bytes then, {num_bytes} now",
        where=source.shown,
        hint="run again: what depends on it is planned anew",
    )


def _pread(descriptor: int, path: str, start: int, end: int) -> bytes:
    # pread and not mmap: a mapped file that shrinks kills the process with SIGBUS.
    try:
        return os.pread(descriptor, end - start, start)
    except OSError as error:
        raise InputError(f"cannot read an input: {error.strerror}", where=f"{path}@{start}") from error
