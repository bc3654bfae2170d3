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

from gristmill.arrays import put_array
from gristmill.dedup.radix import argsort
from gristmill.disk import named
from gristmill.errors import IntegrityError

MAGIC = b"GMRUN001"
BLOCK = 4096  # records per index entry: 8 bytes of index for 48 KiB of band keys
_ALIGN = 64
_HEAD = len(MAGIC) + 8  # bytes before the header, whose length they end with
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
    for name, dtype, length in json.loads(head[_HEAD:position]):
        position += -position % _ALIGN
        found.append(Column(name, dtype, length, position))
        position = found[-1].stop
        if position > size:
            raise _damaged(path, f"is cut short in column {name}")
    return found


def _header_bytes(path: Path, head: bytes) -> int:
    if not head.startswith(MAGIC):
        raise _damaged(path, "is no run of sorted records")
    return int.from_bytes(head[len(MAGIC) : _HEAD], "little")


class SortedRun:
    """A run opened for reading; columns are mapped, not loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with named(path), path.open("rb") as file:
            head = file.read(_HEAD)
            head += file.read(_header_bytes(path, head))
        self.columns: Columns = {}
        self._maps: list[mmap.mmap] = []
        for one in layout(path, head, size):
            if not one.length:
                self.columns[one.name] = np.empty(0, one.dtype)
                continue
            mapped = np.memmap(path, one.dtype, "r", one.start, (one.length,))
            self._maps.append(mapped._mmap)  # type: ignore[attr-defined]
            self.columns[one.name] = mapped.view(np.ndarray)
        self.index = self.columns.pop(INDEX)
        self.key = next(iter(self.columns.values()))

    def __len__(self) -> int:
        return len(self.key)

    def release(self) -> None:
        """Let go of the pages read so far: who reads runs by turns would else hold all of them in the end."""
        for mapped in self._maps:
            if hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def position(self, key: int) -> int:
        """Return the position of the first record whose key is at least `key` (which may be 2^64: the
        end)."""
        if key >= 1 << 64:
            return len(self.key)
        block = int(np.searchsorted(self.index, np.uint64(key)))
        start = max(block - 1, 0) * BLOCK
        return start + int(np.searchsorted(self.key[start : block * BLOCK + 1], np.uint64(key)))

    def span(self, low: int, high: int) -> slice:
        """Return the positions of the records with low <= key < high."""
        return slice(self.position(low), self.position(high))


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
        name: concat([run.columns[name][span] for run, span in zip(runs, spans, strict=True)])
        for name in names
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
    return min((int(run.key[span.start]) for run, span in spans if span.start < span.stop), default=high)


def concat(arrays: Sequence[npt.NDArray]) -> npt.NDArray:
    """Concatenate, always into new writable memory."""
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)
