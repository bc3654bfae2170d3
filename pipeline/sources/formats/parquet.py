"""Parquet files: a range owns the row groups whose first byte lies in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.record import Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows.arrow_columns import batch_rows, read_batch
from gristmill.pipeline.sources.rows.arrow_rows import (
    SeekableFile,
    leaves,
    one_line,
    repeated_column,
    too_many_rows,
)
from gristmill.pipeline.sources.rows.row import RowReader
from gristmill.pipeline.sources.rows.text_rows import TextRows
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings


def read_parquet(
    window: ByteWindow, source: InputRange, settings: SourceSettings
) -> Iterator[Item | TextRows]:
    """Yield the rows of a range's row groups, then its `RangeEnd`; the origin of a row is its row group and
    row in the file."""
    if window.size == 0:
        yield Failure("empty_file", "the file has no bytes", Origin(source.shown, 0, 0), 0)
        yield RangeEnd(source.shown, 0, 0, 0, 0)
        return
    try:
        file = pq.ParquetFile(pa.PythonFile(SeekableFile(window), mode="r"), pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        if source.start == 0:
            yield Failure("not_parquet", one_line(error), Origin(source.shown, 0, window.size), 0)
        yield RangeEnd(source.shown, source.start, source.end, source.start, source.end)
        return
    starts = [_first_byte(file.metadata.row_group(number)) for number in range(file.num_row_groups)]
    owned = [number for number, start in enumerate(starts) if source.start <= start < source.end]
    claimed = too_many_rows(sum(file.metadata.row_group(number).num_rows for number in owned), window.size)
    if claimed:
        yield Failure("damaged_row_group", claimed, Origin(source.shown, source.start, window.size), 0)
        owned = []
    for number in owned:
        yield from _row_group(file, number, source.shown, settings)
    bounds = [*starts, window.size]
    first = next((start for start in bounds if start >= source.start), window.size) if source.start else 0
    yield RangeEnd(
        source.shown, source.start, source.end, first, next(start for start in bounds if start >= source.end)
    )


def _row_group(
    file: pq.ParquetFile, number: int, path: str, settings: SourceSettings
) -> Iterator[Item | TextRows]:
    row = sum(file.metadata.row_group(before).num_rows for before in range(number))
    end = row + file.metadata.row_group(number).num_rows
    names, there = leaves(file.schema_arrow, settings), file.schema_arrow.names
    if twice := repeated_column(file.schema_arrow, settings):
        yield from _lost_rows("repeated_column", f"the file has two columns `{twice}`", path, row, end)
        return
    reader = RowReader(settings)
    try:
        group = file.metadata.row_group(number)
        most = batch_rows(group.num_rows, group.total_byte_size)
        for batch in file.iter_batches(most, row_groups=[number], columns=names, use_threads=False):
            yield from read_batch(batch, row, path, reader, settings, there)
            row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        message = f"row group {number}: {one_line(error)}"
        yield from _lost_rows("damaged_row_group", message, path, row, end)


def _lost_rows(error: str, message: str, path: str, first: int, end: int) -> Iterator[Item]:
    """Each row that cannot be read is a failure of its own: books and limits count rows."""
    for row in range(first, end):
        yield Failure(error, message, Origin(path, row, 1), 0)


def _first_byte(group: Any) -> int:
    column = group.column(0)
    dictionary = column.dictionary_page_offset
    return int(min(column.data_page_offset, dictionary) if dictionary else column.data_page_offset)


FORMATS = (InputFormat("parquet", (".parquet",), "always", read_parquet),)
