"""Reading a shard of documents in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from gristmill.files.parquet import num_parquet_rows, parquet_schema
from gristmill.files.storage import read_tables


def read_batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Yield a shard's documents, the named columns only (those it has); an empty shard yields one empty
    table."""
    schema = parquet_schema(path)
    names = [name for name in schema.names if columns is None or name in columns]
    yield from read_tables(path, names)
    if num_rows(path) == 0:
        yield pa.schema([schema.field(name) for name in names]).empty_table()


def num_rows(path: Path) -> int:
    """Return how many documents a shard holds, from its footer."""
    return num_parquet_rows(path)
