"""Parquet files that notice a flipped bit when they are read.

Each page carries a CRC-32 that every reader here checks. The footer, which says where pages lie and what they
hold, has no checksum in the format: a *seal* among its key-value metadata is the sha256 of all its other
bytes. Files of other writers have neither and are read as they are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.damage import damaged
from gristmill.errors import IntegrityError

SEAL = "gristmill.seal"
_UNSEALED = "0" * 64
_TAIL_BYTES = 8  # length of the footer, u32 little-endian, and `PAR1`


def seal(path: Path) -> None:
    """Write the digest of a closed file's footer into the place that `UNSEALED_METADATA` kept for it."""
    with path.open("r+b") as file:
        start, footer = _footer(file)
        at = _seal_at(footer)
        if at < 0:
            raise ValueError(f"`{path}` was written without a place for its seal")
        blank = footer[:at] + _UNSEALED.encode() + footer[at + 64 :]
        file.seek(start + at)
        file.write(hashlib.sha256(blank).hexdigest().encode())


UNSEALED_METADATA = {SEAL: _UNSEALED}


class Writer(pq.ParquetWriter):  # type: ignore[misc]
    """pyarrow's writer, which tries again to close what failed when it is dropped, and prints a traceback of
    what was raised and told before."""

    def __del__(self) -> None:
        with suppress(Exception):
            super().__del__()


def open_parquet(path: Path, *, memory_map: bool = False) -> pq.ParquetFile:
    """Open a file whose footer is as it was written and whose pages are checked when they are read.

    Raises IntegrityError where the footer is not; what is read from it may raise OSError, which `checked`
    turns into IntegrityError.
    """
    local = Path(os.fspath(path))  # a copy, of one that lies elsewhere
    with checked(path):
        _check_seal(local)
        return pq.ParquetFile(local, memory_map=memory_map, page_checksum_verification=True)


def read_parquet(path: Path | str, columns: list[str] | None = None) -> pa.Table:
    """Read a whole file in this thread."""
    with checked(Path(path)), open_parquet(Path(path)) as file:
        return file.read(columns=columns, use_threads=False)


def parquet_schema(path: Path | str) -> pa.Schema:
    with open_parquet(Path(path)) as file:
        return file.schema_arrow


def num_parquet_rows(path: Path | str) -> int:
    with open_parquet(Path(path)) as file:
        return int(file.metadata.num_rows)


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """Say of bytes that cannot be decoded that the file is damaged; errors of the file system pass as they
    are."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is not None:
            error.filename = error.filename or str(path)
            raise
        raise _damaged(path, error) from error


def _check_seal(path: Path) -> None:
    with path.open("rb") as file:
        try:
            _, footer = _footer(file)
        except ValueError as error:
            raise _damaged(path, error) from error
    at = _seal_at(footer)
    if at < 0:
        return
    said = footer[at : at + 64]
    found = hashlib.sha256(footer[:at] + _UNSEALED.encode() + footer[at + 64 :]).hexdigest().encode()
    if said != found:
        raise _damaged(path, ValueError("its footer is not what was written"))


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Return where the footer starts, and its bytes."""
    size = file.seek(0, 2)
    if size < 2 * _TAIL_BYTES:
        raise ValueError(f"{size} bytes are no Parquet file")
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    start = size - _TAIL_BYTES - int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or start < 4:
        raise ValueError("it does not end as a Parquet file does")
    file.seek(start)
    return start, file.read(size - _TAIL_BYTES - start)


def _seal_at(footer: bytes) -> int:
    """Where the seal's 64 hexadecimal digits lie: after its name and one or two bytes of Thrift; -1 where
    there is none."""
    at = footer.rfind(SEAL.encode())
    if at < 0:
        return -1
    at += len(SEAL) + 2  # the type of the next field, then its length, 64, in one byte
    return at if at + 64 <= len(footer) else -1


def _damaged(path: Path, error: Exception) -> IntegrityError:
    return damaged(path, " ".join(str(error).split())[:200])
