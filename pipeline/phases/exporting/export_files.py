"""Files to hand over, by their endings: JSON lines (plain, .gz, .zst), Parquet, Arrow; here or at a URL."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson
import pyarrow as pa

from gristmill.errors import UsageError
from gristmill.files.parquet import Writer
from gristmill.files.stores import store_of
from gristmill.hashing import sha256_file
from gristmill.pipeline.phases.exporting.export_layouts import Handing, plain, rows_of

ENDINGS = {
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".jsonl.gz": "jsonl.gz",
    ".json.gz": "jsonl.gz",
    ".jsonl.zst": "jsonl.zst",
    ".json.zst": "jsonl.zst",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet", "arrow")
_ROWS_AT_ONCE = 4096


def format_of(name: str) -> str | None:
    """The format that a file's name asks for; None for one that asks for none, which is a folder."""
    lower = name.lower()
    return next((ENDINGS[end] for end in sorted(ENDINGS, key=len, reverse=True) if lower.endswith(end)), None)


class DocumentsFile(Protocol):
    """A file that takes tables of one layout; `size` is what it holds so far, about."""

    num_rows: int

    def write(self, table: pa.Table, layout: str, handing: Handing) -> None: ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: BinaryIO, compression: str = "", *, is_own: bool = False) -> None:
        self.num_rows, self._raw, self._is_own = 0, stream, is_own
        self._file: Any = stream
        if compression == "gz":
            # No name and no time in the head: the same rows give the same bytes.
            self._file = gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0)
        elif compression == "zst":
            self._file = pa.CompressedOutputStream(pa.PythonFile(stream, "w"), "zstd")

    def write(self, table: pa.Table, layout: str, handing: Handing) -> None:
        for start in range(0, table.num_rows, _ROWS_AT_ONCE):
            rows = rows_of(table.slice(start, _ROWS_AT_ONCE), layout, handing)
            said = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
            self._file.write(b"".join(orjson.dumps(row, default=plain, option=said) for row in rows))
        self.num_rows += table.num_rows

    def size(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        if self._file is not self._raw:
            self._file.close()
        if self._is_own:
            self._raw.close()
        elif not self._raw.closed:
            self._raw.flush()


class ArrowRows:
    """A Parquet or an Arrow (IPC file) of one schema; what a table lacks of it is null."""

    def __init__(self, path: Path, schema: pa.Schema, kind: str) -> None:
        self.num_rows, self.schema, self._path = 0, schema.remove_metadata(), path
        if kind == "parquet":
            self._writer: Any = Writer(path, self.schema, compression="zstd", compression_level=3)
        else:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            self._writer = pa.ipc.new_file(str(path), self.schema, options=options)

    def write(self, table: pa.Table, layout: str, handing: Handing) -> None:
        self._writer.write_table(widened(table, self.schema))
        self.num_rows += table.num_rows

    def size(self) -> int:
        return self._path.stat().st_size

    def close(self) -> None:
        self._writer.close()


def open_file(path: Path, kind: str, schema: pa.Schema) -> DocumentsFile:
    """Begin a local file of one of `FORMATS`."""
    if kind in ("parquet", "arrow"):
        return ArrowRows(path, schema, kind)
    return JsonLines(path.open("wb"), kind.partition(".")[2], is_own=True)


def deliver(local: Path, target: Path) -> None:
    """Make a finished local file appear whole at its place, here or at a URL."""
    target.parent.mkdir(parents=True, exist_ok=True)
    store_of(target).place(local, target, sha256_file(local))


def widened(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly a schema's columns; absent ones are null, structs are filled up within."""
    columns = [
        _cast(table.column(field.name), field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted or not pa.types.is_struct(wanted):
        return column.cast(wanted) if column.type != wanted else column
    arrays = []
    for chunk in column.chunks or [pa.nulls(0, column.type)]:
        own = {field.name: chunk.field(field.name) for field in column.type}
        parts = [
            own[field.name].cast(field.type) if field.name in own else pa.nulls(len(chunk), field.type)
            for field in wanted
        ]
        arrays.append(pa.StructArray.from_arrays(parts, fields=list(wanted)))
    return pa.chunked_array(arrays, wanted)


def united(schemas: list[pa.Schema]) -> pa.Schema:
    """One schema with the columns of all, structs united within; raises UsageError where types disagree."""
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            known = fields.get(field.name)
            if known is None or known.type == field.type:
                fields.setdefault(field.name, field.with_nullable(True))
            elif pa.types.is_struct(known.type) and pa.types.is_struct(field.type):
                inner = united([pa.schema(list(known.type)), pa.schema(list(field.type))])
                fields[field.name] = pa.field(field.name, pa.struct(list(inner)))
            else:
                raise UsageError(
                    f"the column `{field.name}` is {known.type} in one source and {field.type} in another",
                    hint="export as .jsonl, or give both the same type under `passthrough`",
                )
    return pa.schema(list(fields.values()))
