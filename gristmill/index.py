"""Index sidecars: find a document's row by id (or URL) in a data file without scanning it.

The file is an array of 20-byte records sorted by key: a 16-byte key and the row as little-endian u32.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.arrays import read_array, write_array
from gristmill.hashing import digest16

PAIR = np.dtype([("high", ">u8"), ("low", ">u8"), ("row", "<u4")])


def write_index(path: Path, keys: pa.Array) -> int:
    """Write the sidecar of a fixed_size_binary(16) column and return its number of records; null keys are
    left out."""
    if isinstance(keys, pa.ChunkedArray):
        keys = keys.combine_chunks()
    rows = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False)).astype("<u4")
    present = keys.drop_null()
    records = np.empty(len(present), PAIR)
    if len(present):
        halves = np.frombuffer(present.buffers()[1], dtype=">u8")[
            2 * present.offset : 2 * (present.offset + len(present))
        ]
        records["high"], records["low"], records["row"] = halves[0::2], halves[1::2], rows
        records = records[np.lexsort((records["row"], records["low"], records["high"]))]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_array(path, records)
    return len(records)


def read_range(path: Path, first: int, end: int) -> npt.NDArray[np.void]:
    """Read the records whose key's first 64 bits lie in [first, end): no file stays open, however many are
    read from."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        num_records = os.fstat(descriptor).st_size // PAIR.itemsize
        start, stop = (
            (
                num_records
                if bound >> 64
                else _first_place(descriptor, num_records, bound.to_bytes(8, "big") + bytes(8))
            )
            for bound in (first, end)
        )
    finally:
        os.close(descriptor)
    return read_array(path, PAIR, stop - start, start)


def find_rows(path: Path, key: bytes) -> list[int]:
    """Return the rows that hold `key`, in order.

    Keys are hashes, so their place in the file is known to within a few dozen records: two short reads find
    them in a file of any size.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        num_records = os.fstat(descriptor).st_size // PAIR.itemsize
        at = _first_place(descriptor, num_records, key)
        rows = []
        while at < num_records:
            record = os.pread(descriptor, PAIR.itemsize, at * PAIR.itemsize)
            if record[:16] != key:
                break
            rows.append(int.from_bytes(record[16:], "little"))
            at += 1
        return rows
    finally:
        os.close(descriptor)


def _first_place(descriptor: int, num_records: int, key: bytes) -> int:
    """Binary search for the first record not below `key`, starting around where a hash of its size should
    lie."""
    expected = int.from_bytes(key[:8], "big") * num_records >> 64
    low, high = 0, num_records
    spread = 8 + 4 * int(num_records**0.5)  # a hash strays by about the square root
    for guess, is_low in ((expected - spread, True), (expected + spread, False)):
        if low < guess < high:
            below = os.pread(descriptor, 16, guess * PAIR.itemsize) < key
            low, high = (guess + 1, high) if below else (low, guess)
            if below != is_low:
                break
    while low < high:
        middle = (low + high) // 2
        if os.pread(descriptor, 16, middle * PAIR.itemsize) < key:
            low = middle + 1
        else:
            high = middle
    return low


def url_key(url: str) -> bytes:
    """Return the 16-byte key under which the URL sidecar files a page."""
    return digest16("url", url)


def own_key(own_id: str) -> bytes:
    """Return the 16-byte key under which a sidecar files a row by the id that its source gave it."""
    return digest16("own id", own_id)


def url_keys(urls: pa.ChunkedArray) -> pa.Array:
    """Return `url_key` of a whole column; null where the URL is."""
    from gristmill.text.digests import digest16_rows  # readers of single keys need no kernel

    return digest16_rows("url", urls)


def own_keys(own_ids: pa.Array) -> pa.Array:
    """Return `own_key` of a whole column; null where there is no id."""
    from gristmill.text.digests import digest16_rows

    return digest16_rows("own id", own_ids)
