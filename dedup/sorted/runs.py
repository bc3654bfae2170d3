"""Sorted runs: what map tasks write and reduce tasks read ranges of.

A run is one file of columns of little-endian numbers, sorted by its first column, followed by an offset
index: the first key of every block of 4,096 records. A reader finds a key range from the index and one block
on either side, then reads only that range, so that a shuffle costs each byte one write and one read, and
nothing passes through memory as a whole.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gristmill.arrays import put_array, read_array
from gristmill.dedup.sorted.radix import argsort
from gristmill.errors import IntegrityError
from gristmill.files.disk import named

MAGIC = b"GMRUN001"
BLOCK = 4096  # records per index entry: 8 bytes of index for 48 KiB of band keys
_ALIGN = 64
_READ_BYTES = 1 << 20  # of a column, up to which it is read and not mapped
_HEAD = len(MAGIC) + 8  # bytes before the header, whose length they end with
_MOST_HEADER_BYTES = 1 << 20
INDEX = "__index__"

Columns = dict[str, npt.NDArray]


def sort_columns(columns: Mapping[str, npt.NDArray]) -> Columns:
    """Sort records by their first column, equal keys in the order they came."""
    order = argsort(next(iter(columns.values())))
    return {name: column[order] for name, column in columns.items()}


def write_run(path: Path, columns: Mapping[str, npt.NDArray]) -> None:
    """Write columns, sorted by the first one (u64); columns of another length (packed values) may follow."""
    key = next(iter(columns.values()))
    if key.dtype != np.uint64 or (len(key) > 1 and bool((key[1:] < key[:-1]).any())):
        raise IntegrityError(
            f"run {path.name}: the first column must be sorted u64, got unsorted {key.dtype}"
        )
    arrays = {**columns, INDEX: np.ascontiguousarray(key[::BLOCK])}
    header = json.dumps([[name, array.dtype.str, len(array)] for name, array in arrays.items()]).encode()
    with named(path), path.open("wb") as file:
        file.write(MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            file.write(b"\0" * (-file.tell() % _ALIGN))
            put_array(file, array)


class Column(NamedTuple):
    """Where a column of a run lies."""

    name: str
    dtype: str
    length: int
    start: int

    @property
    def width(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def num_bytes(self) -> int:
        return self.width * self.length

    @property
    def stop(self) -> int:
        return self.start + self.num_bytes


def layout(path: Path, head: bytes, size: int) -> list[Column]:
    """Read where the columns of a run of so many bytes lie, the index last; `head` holds its header at least.

    Raises IntegrityError for a file that is none, or is cut short.
    """
    position = _HEAD + _header_bytes(path, head)
    found = []
    for name, dtype, length in _stated(path, head[_HEAD:position]):
        position += -position % _ALIGN
        found.append(Column(name, dtype, length, position))
        position = found[-1].stop
        if position > size:
            raise _damaged(path, f"is cut short in column {name}")
    return found


def _stated(path: Path, header: bytes) -> list[tuple[str, str, int]]:
    """The columns that a header states: numbers, of u64 the first and the last, which are key and index."""
    try:
        columns = [(str(name), np.dtype(dtype), length) for name, dtype, length in json.loads(header)]
    except (ValueError, TypeError, SyntaxError, RecursionError) as error:
        raise _damaged(path, f"has a header that cannot be read: {error}") from None
    are_numbers = all(
        dtype.kind in "biuf" and isinstance(length, int) and length >= 0 for _, dtype, length in columns
    )
    ends = [columns[0][1], columns[-1][1]] if len(columns) > 1 else []
    if not are_numbers or ends != [np.dtype("<u8")] * 2:
        raise _damaged(path, "has a header that is not that of a run")
    return [(name, dtype.str, length) for name, dtype, length in columns]


def _header_bytes(path: Path, head: bytes) -> int:
    if not head.startswith(MAGIC):
        raise _damaged(path, "is no run of sorted records")
    length = int.from_bytes(head[len(MAGIC) : _HEAD], "little")
    if length > _MOST_HEADER_BYTES:
        raise _damaged(path, f"has a header of {length:,} bytes, more than {_MOST_HEADER_BYTES:,}")
    return length


class _Mapped(Mapping[str, npt.NDArray]):
    """The columns of a run, each mapped when it is first asked for."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.path, self.layout = path, {one.name: one for one in columns}
        self.maps: list[mmap.mmap] = []
        self._arrays: Columns = {}

    def __getitem__(self, name: str) -> npt.NDArray:
        if name not in self._arrays:
            one = self.layout[name]
            if one.length:
                mapped = np.memmap(self.path, one.dtype, "r", one.start, (one.length,))
                self.maps.append(mapped._mmap)  # type: ignore[attr-defined]
                self._arrays[name] = mapped.view(np.ndarray)
            else:
                self._arrays[name] = np.empty(0, one.dtype)
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout)

    def __len__(self) -> int:
        return len(self.layout)


class SortedRun:
    """A run opened for reading; columns are mapped, not loaded.

    Many runs are read by small ranges: these are read, and so are the blocks in which a key is looked for. A
    page of a mapping would bring with it what the system reads ahead, up to 8 MiB of every run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with named(path), path.open("rb") as file:
            head = file.read(_HEAD)
            head += file.read(_header_bytes(path, head))
        *columns, index = layout(path, head, size)
        self.columns = _Mapped(path, columns)
        self.index = self._read(index, slice(0, index.length))
        self._first = columns[0]
        self._block: tuple[int, npt.NDArray] = (-1, self.index[:0])

    def __len__(self) -> int:
        return self._first.length

    @property
    def key(self) -> npt.NDArray:
        return self.columns[self._first.name]

    def read_key(self, span: slice) -> npt.NDArray:
        return self.read(self._first.name, span)

    def read(self, name: str, span: slice) -> npt.NDArray:
        """The records of a column in a span: read where they are few, else from the mapping."""
        one = self.columns.layout[name]
        return self.columns[name][span] if _size(one, span) > _READ_BYTES else self._read(one, span)

    def _read(self, one: Column, span: slice) -> npt.NDArray:
        return read_array(self.path, one.dtype, span.stop - span.start, span.start, behind=one.start)

    def release(self) -> None:
        """Let go of the pages read so far: who reads runs by turns would else hold all of them in the end."""
        for mapped in self.columns.maps:
            if hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def position(self, key: int) -> int:
        """Return the position of the first record whose key is at least `key` (which may be 2^64: the
        end)."""
        if key >= 1 << 64:
            return len(self)
        block = int(np.searchsorted(self.index, np.uint64(key)))
        start = max(block - 1, 0) * BLOCK
        if self._block[0] != block:  # kept: who looks for a bound looks there again
            stop = min(block * BLOCK + 1, len(self))
            self._block = block, self._read(self._first, slice(start, stop))
        return start + int(np.searchsorted(self._block[1], np.uint64(key)))

    def span(self, low: int, high: int) -> slice:
        """Return the positions of the records with low <= key < high."""
        return slice(self.position(low), self.position(high))


def _size(one: Column, span: slice) -> int:
    return int(span.stop - span.start) * one.width


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(f"{path.name} {what}", where=str(path), hint="delete it and run the step again")


def key_range(part: int, num_parts: int) -> tuple[int, int]:
    """Return the part's share [low, high) of the 64-bit key space."""
    return (part << 64) // num_parts, ((part + 1) << 64) // num_parts


def num_parts(num_records: int, part_records: int) -> int:
    """Return into how many key ranges a shuffle is cut: a function of the data only, never of the workers."""
    return max(1, -(-num_records // part_records))


def read_range(runs: Sequence[SortedRun], low: int, high: int, names: Sequence[str]) -> Columns:
    """Read a key range of several runs into memory, one after another in the order given; the runs' own pages
    are released."""
    spans = [run.span(low, high) for run in runs]
    columns = {
        name: concat([run.read(name, span) for run, span in zip(runs, spans, strict=True)]) for name in names
    }
    for run in runs:
        run.release()
    return columns


def key_slices(runs: Sequence[SortedRun], low: int, high: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut [low, high) into ranges of keys that hold `most` records of all runs together, or one key that
    holds more: what a task that may not read all at once reads by turns."""
    while low < high:
        starts = [run.position(low) for run in runs]

        def records(end: int, starts: Sequence[int] = starts) -> int:
            return sum(run.position(end) - start for run, start in zip(runs, starts, strict=True))

        if not (left := records(high)):
            return
        if left <= most:
            yield low, high
            return
        # The least end with more than `most` before it: up to it, or that one key alone.
        first = least_key(runs, low, high)
        below, above = first, high
        while above - below > 1:
            middle = (below + above) // 2
            below, above = (middle, above) if records(middle) <= most else (below, middle)
        end = max(below, first + 1)
        yield low, end
        low = end


def least_key(runs: Sequence[SortedRun], low: int, high: int) -> int:
    """The least key in [low, high), which is all that is looked at; `high` where there is none."""
    spans = ((run, run.span(low, high)) for run in runs)
    firsts = ((run, slice(span.start, span.start + 1)) for run, span in spans if span.start < span.stop)
    return min((int(run.read_key(first)[0]) for run, first in firsts), default=high)


def concat(arrays: Sequence[npt.NDArray]) -> npt.NDArray:
    """Concatenate, always into new writable memory."""
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)
