"""Parquet files: a range owns the row groups whose first byte lies in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.record import Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows import row_to_record
from gristmill.pipeline.sources.window import Window

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

_BATCH_ROWS = 256


def read_parquet(window: Window, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
    """Yield the rows of a range's row groups, then its `RangeEnd`; the origin of a row is its row group and
    row in the file."""
    if window.size == 0:
        yield Failure("empty_file", "the file has no bytes", Origin(source.path, 0, 0), 0)
        yield RangeEnd(source.path, 0, 0, 0, 0)
        return
    try:
        file = pq.ParquetFile(pa.PythonFile(_Seekable(window), mode="r"), pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        if source.start == 0:
            yield Failure("not_parquet", _one_line(error), Origin(source.path, 0, window.size), 0)
        yield RangeEnd(source.path, source.start, source.end, source.start, source.end)
        return
    starts = [_first_byte(file.metadata.row_group(number)) for number in range(file.num_row_groups)]
    owned = [number for number, start in enumerate(starts) if source.start <= start < source.end]
    for number in owned:
        yield from _row_group(file, number, source.path, settings)
    bounds = [*starts, window.size]
    first = next((start for start in bounds if start >= source.start), window.size) if source.start else 0
    yield RangeEnd(
        source.path, source.start, source.end, first, next(start for start in bounds if start >= source.end)
    )


def _row_group(file: pq.ParquetFile, number: int, path: str, settings: SourceSettings) -> Iterator[Item]:
    row = sum(file.metadata.row_group(before).num_rows for before in range(number))
    end = row + file.metadata.row_group(number).num_rows
    wanted = _wanted(settings)
    names = [name for name in file.schema_arrow.names if name in wanted]
    try:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[number], columns=names, use_threads=False):
            for values in _rows(batch):
                origin = Origin(path, row, 1)
                yield row_to_record(values, settings, origin, _num_bytes(values))
                row += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Failure(
            "damaged_row_group", f"row group {number}: {_one_line(error)}", Origin(path, row, end - row), 0
        )


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    columns = {
        name: column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    for number in range(batch.num_rows):
        yield {name: column[number] for name, column in columns.items()}


def _wanted(settings: SourceSettings) -> list[str]:
    columns = settings.columns
    return [
        name
        for name in (columns.text, columns.html, columns.id, columns.url, columns.date, *settings.passthrough)
        if name
    ]


def _num_bytes(values: dict[str, Any]) -> int:
    return sum(
        len(value.encode("utf-8", "surrogatepass")) for value in values.values() if isinstance(value, str)
    )


def _first_byte(group: Any) -> int:
    column = group.column(0)
    dictionary = column.dictionary_page_offset
    return int(min(column.data_page_offset, dictionary) if dictionary else column.data_page_offset)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


class _Seekable:
    """The file object that Arrow asks for, over a window."""

    closed = False

    def __init__(self, window: Window) -> None:
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


FORMATS = (InputFormat("parquet", (".parquet",), "always", read_parquet),)
