"""Files that are either whole or absent: atomic writes, content-addressed publishing, and the one Parquet
writer.

Whoever writes calls the functions here; whether the output lies on this machine or elsewhere is its path's
affair (`gristmill.files.location`, `gristmill.files.stores`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from gristmill.files.disk import named
from gristmill.files.parquet import UNSEALED_METADATA, Writer, checked, open_parquet, seal
from gristmill.files.stores import fsync_file, store_of
from gristmill.hashing import sha256_file

ROW_GROUP_ROWS = 2048
FILE_FORMAT = 4  # of Parquet files, whoever writes them: part of every step's identity
# Every stage writes its documents anew, and compressing them takes most of that: level 3 makes files of texts
# a seventh smaller in twice the time, dictionaries of URLs or ids neither.
_COMPRESSION_LEVEL = 1
_DICTIONARY_COLUMNS = ("source", "language", "rule", "error", "origin.file", "rules.list.element")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One published file: its role, its path below the step's folder, what it must hash to, and whose
    documents it holds."""

    kind: str
    path: str
    sha256: str
    bytes: int
    rows: int
    source: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class RowGroups:
    """Gather rows until exactly `size` are there, and hand them to `take` as one table of combined chunks:
    what is made of them then depends on the rows alone, not on how they were batched."""

    def __init__(
        self, schema: pa.Schema, take: Callable[[pa.Table], None], size: int = ROW_GROUP_ROWS
    ) -> None:
        self.schema, self.size, self.num_rows, self._take = schema, size, 0, take
        self._pending: list[pa.Table] = []
        self._pending_rows = 0

    def write(self, table: pa.Table) -> None:
        """Append rows; columns are cast to the schema, and a missing column is an error."""
        if table.schema != self.schema:
            table = table.select(self.schema.names).cast(self.schema)
        self.num_rows += table.num_rows
        self._pending.append(table)
        self._pending_rows += table.num_rows
        if self._pending_rows >= self.size:
            self._flush(keep_rest=True)

    def close(self) -> None:
        """Hand over what is left."""
        self._flush(keep_rest=False)

    def _flush(self, *, keep_rest: bool) -> None:
        if not self._pending_rows:
            return
        rows = pa.concat_tables(self._pending)
        end = rows.num_rows - rows.num_rows % self.size if keep_rest else rows.num_rows
        for start in range(0, end, self.size):
            self._take(rows.slice(start, min(self.size, end - start)).combine_chunks())
        rest = rows.slice(end)
        self._pending, self._pending_rows = ([rest] if rest.num_rows else []), rest.num_rows


class ParquetWriter:
    """Write tables to one Parquet file whose bytes depend on the rows alone: one row group for each
    `group_rows`, since page and dictionary boundaries would otherwise follow the caller's batches.

    A file without rows is still a valid file. A group costs a third of a millisecond beside its bytes: rows
    of a few bytes want larger ones than documents.
    """

    def __init__(self, path: Path, schema: pa.Schema, group_rows: int = ROW_GROUP_ROWS) -> None:
        self.path, self.schema = path, schema
        self._groups = RowGroups(schema, self._write_group, group_rows)
        columns = {name.split(".")[0] for name in _DICTIONARY_COLUMNS} & set(schema.names)
        dictionary = [name for name in _DICTIONARY_COLUMNS if name.split(".")[0] in columns]
        path.parent.mkdir(parents=True, exist_ok=True)
        # No min/max statistics for texts: pyarrow copies both values some six times, and they say nothing.
        statistics = [
            field.name for field in schema if field.name != "text" and not pa.types.is_nested(field.type)
        ]
        self._writer = Writer(
            path,
            schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=dictionary,
            write_statistics=statistics,
            write_page_checksum=True,
        )

    @property
    def num_rows(self) -> int:
        return self._groups.num_rows

    def write(self, table: pa.Table) -> None:
        """Append rows; columns are cast to the file's schema, and a missing column is an error."""
        self._groups.write(table)

    def close(self) -> None:
        self._groups.close()
        with named(self.path):
            self._writer.add_key_value_metadata(UNSEALED_METADATA)
            self._writer.close()
            seal(self.path)

    def _write_group(self, group: pa.Table) -> None:
        with named(self.path):
            self._writer.write_table(group, row_group_size=self._groups.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # a failed body must not leave a file with a valid footer behind
            with contextlib.suppress(Exception):
                self._writer.close()
            self.path.unlink(missing_ok=True)


def read_tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Read a Parquet file one row group at a time, so that memory does not grow with the file.

    It is not mapped: pages that were read would stay, and a task's size would seem to grow with its input.
    """
    with open_parquet(path) as file:
        for group in range(file.num_row_groups):
            with checked(path):
                table = file.read_row_group(group, columns=columns, use_threads=False)
            yield table


def cut_by_bytes(table: pa.Table, num_bytes: int, column: str = "text") -> Iterator[pa.Table]:
    """Cut a table into runs of rows with about so many bytes of text, so that books take no more memory than
    pages.

    A row is never cut: one longer than `num_bytes` is a run of its own, or ends one.
    """
    import pyarrow.compute as pc  # slow to import, and readers of single rows need none of it

    sizes = pc.fill_null(pc.binary_length(table[column]), 0).to_numpy().astype(np.int64)
    bins = (np.cumsum(sizes) - sizes) // num_bytes
    starts = [0, *(np.flatnonzero(np.diff(bins)) + 1).tolist(), len(sizes)]
    for start, stop in pairwise(starts):
        if stop > start:
            yield table.slice(start, stop - start)


def publish(
    scratch: Path,
    folder: Path,
    stem: str,
    kind: str,
    rows: int,
    source: str | None = None,
    name: str | None = None,
) -> FileEntry:
    """Move a finished file to `folder/data/<stem>-<sha12><suffix>`: two attempts with the same bytes are one
    file.

    With `name` it goes to `folder/<name>` instead, for files that other programs find by name.
    """
    fsync_file(scratch)
    digest = sha256_file(scratch)
    target = folder / (name or f"data/{stem}-{digest[:12]}{''.join(scratch.suffixes[-2:])}")
    size = scratch.stat().st_size
    store_of(folder).place(scratch, target, digest)
    return FileEntry(kind, target.relative_to(folder).as_posix(), digest, size, rows, source)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader sees the old bytes or the new ones, never a mixture."""
    store_of(path).write(path, data)


def put_if_absent(path: Path, data: bytes, *, settled: bool = True) -> bool:
    """Create a file with this content unless it is there already; say whether it was created.

    One that need not be `settled` may be gone after a loss of power, until its folder is settled.
    """
    return store_of(path).put_if_absent(path, data, settled=settled)
