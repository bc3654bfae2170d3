"""Rows of Arrow tables: which columns to read, and each cell as a value or as unreadable by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gristmill.pipeline.sources.rows.row import Unreadable

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings
    from gristmill.pipeline.sources.window import ByteWindow


def wanted_paths(settings: SourceSettings) -> list[str]:
    """Return every column or path that a source's settings name, each once."""
    columns = settings.columns
    named = (columns.html or columns.text, columns.id, columns.url, columns.date, columns.language)
    return list(dict.fromkeys(name for name in (*named, *settings.passthrough) if name))


def leaves(schema: pa.Schema, settings: SourceSettings) -> list[str]:
    """Return what to read of a file: columns, and of structs only the fields that are asked for."""
    found = []
    for path in wanted_paths(settings):
        if path in schema.names:
            found.append(path)
            continue
        parts = path.split(".")
        for length in range(1, len(parts)):
            head = ".".join(parts[:length])
            if head in schema.names:
                below = _below(schema.field(head).type, parts[length:])
                found.append(".".join([head, *below]))
                break
    return list(dict.fromkeys(found))


def _below(kind: pa.DataType, parts: list[str]) -> list[str]:
    """The part of a path that leads through structs; what lies in a text of JSON is not the file's affair."""
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        if pa.types.is_struct(kind) and kind.get_field_index(name) >= 0:
            return [name, *_below(kind.field(name).type, parts[length:])]
    return []


def repeated_column(schema: pa.Schema, settings: SourceSettings) -> str | None:
    """Return a column that is asked for and that the file has twice: which of them is meant nobody can
    say."""
    counts = Counter(schema.names)
    heads = {head for path in wanted_paths(settings) for head in (path, path.partition(".")[0])}
    return next((name for name in schema.names if counts[name] > 1 and name in heads), None)


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for number in range(batch.num_rows):
        yield {name: column[number] for name, column in columns.items()}


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's datetime ends at microseconds: what has more would be refused, and its digits lost.
        column = column.cast(pa.string())
    try:
        return list(column.to_pylist())
    except MemoryError:  # Arrow's is both: that there is none is the machine's state, not the file's
        raise
    except (ValueError, OverflowError, pa.ArrowException):
        return [_value(cell) for cell in column]


def _value(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError as error:
        return Unreadable("invalid_utf8", f"byte {error.start}: {error.reason}")
    except MemoryError:
        raise
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Unreadable("unreadable_value", one_line(error))


def num_bytes(row: dict[str, Any]) -> int:
    """Return the payload bytes of a row: those of its texts."""
    return sum(
        len(value) if isinstance(value, bytes) else len(value.encode("utf-8", "surrogatepass"))
        for value in row.values()
        if isinstance(value, str | bytes)
    )


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class SeekableFile:
    """The file object that Arrow asks for, over a window."""

    closed = False

    def __init__(self, window: ByteWindow) -> None:
        self._window, self._at = window, 0

    def read(self, num_bytes: int = -1) -> bytes:
        data = self._window.read_exactly(
            self._at, self._window.size - self._at if num_bytes < 0 else num_bytes
        )
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._window.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._window.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
