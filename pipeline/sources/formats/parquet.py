"""Parquet files: a range owns the row groups whose first byte lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.record import Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows.arrow_bounds import (
    MAX_BATCH_ROWS,
    batch_rows,
    columns_below,
    large_dictionaries,
    too_many_rows,
    with_long_entries,
)
from gristmill.pipeline.sources.rows.arrow_columns import read_batch
from gristmill.pipeline.sources.rows.arrow_rows import (
    SeekableFile,
    leaves,
    one_line,
    repeated_column,
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
        file, starts = _opened(window)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        if source.start == 0:
            yield Failure("not_parquet", one_line(error), Origin(source.shown, 0, window.size), 0)
        yield RangeEnd(source.shown, source.start, source.end, source.start, source.end)
        return
    owned = [number for number, start in enumerate(starts) if source.start <= start < source.end]
    claimed = too_many_rows(sum(file.metadata.row_group(number).num_rows for number in owned), window.size)
    if claimed:
        yield Failure("damaged_row_group", claimed, Origin(source.shown, source.start, window.size), 0)
        owned = []
    for number in owned:
        yield from _row_group(file, number, window, source.shown, settings)
    bounds = [*starts, window.size]
    first = next((start for start in bounds if start >= source.start), window.size) if source.start else 0
    yield RangeEnd(
        source.shown, source.start, source.end, first, next(start for start in bounds if start >= source.end)
    )


def _opened(window: ByteWindow) -> tuple[pq.ParquetFile, list[int]]:
    """Open a file, and return where its row groups begin; raises ArrowException where its footer cannot be
    true."""
    try:
        file = open_parquet(window)
        starts = [_first_byte(file.metadata.row_group(number)) for number in range(file.num_row_groups)]
        file.schema_arrow.names  # noqa: B018 - decoded when asked for
    except (UnicodeDecodeError, IndexError, OverflowError) as error:
        raise pa.ArrowInvalid(f"its footer is damaged: {error}") from error
    if any(not 0 <= start < window.size for start in starts):
        raise pa.ArrowInvalid("its footer is damaged: a row group begins outside the file")
    if any(file.metadata.row_group(number).num_rows < 0 for number in range(file.num_row_groups)):
        raise pa.ArrowInvalid("its footer is damaged: a row group of fewer rows than none")
    return file, starts


def _row_group(
    file: pq.ParquetFile, number: int, window: ByteWindow, path: str, settings: SourceSettings
) -> Iterator[Item | TextRows]:
    row = sum(file.metadata.row_group(before).num_rows for before in range(number))
    end = row + file.metadata.row_group(number).num_rows
    names, there = leaves(file.schema_arrow, settings), file.schema_arrow.names
    if twice := repeated_column(file.schema_arrow, settings):
        yield from _lost_rows("repeated_column", f"the file has two columns `{twice}`", path, row, end)
        return
    reader = RowReader(settings)
    try:
        for batch in row_group_batches(file, number, names, window):
            yield from read_batch(batch, row, path, reader, settings, there)
            row += batch.num_rows
    except MemoryError:  # Arrow's is an ArrowException, too: the machine's state is no damage
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last of a column's name
        message = f"row group {number}: {one_line(error)}"
        yield from _lost_rows("damaged_row_group", message, path, row, end)


def open_parquet(window: ByteWindow, footer: Any = None, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file for reading by ranges; the columns of `dictionaries` are read as such."""
    source = pa.PythonFile(SeekableFile(window), mode="r")
    return pq.ParquetFile(source, metadata=footer, pre_buffer=False, read_dictionary=list(dictionaries))


def row_group_batches(
    file: pq.ParquetFile, number: int, names: Sequence[str], window: ByteWindow, most: int = MAX_BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield a row group in batches of some megabytes, `most` rows at a time; raises ArrowInvalid where it
    holds more values than its file can stand for."""
    group = file.metadata.row_group(number)
    columns = columns_below(group, names)
    for column in columns:
        if claimed := too_many_rows(column.num_values, window.size, "values"):
            raise pa.ArrowInvalid(claimed)
    most = min(most, batch_rows(group.num_rows, group.total_byte_size))
    if large := large_dictionaries(window, columns, most):
        as_such = open_parquet(window, file.metadata, large)
        first = next(as_such.iter_batches(1, row_groups=[number], columns=large, use_threads=False), None)
        if large := with_long_entries(first, large, most):
            file = open_parquet(window, file.metadata, large)
    yield from file.iter_batches(most, row_groups=[number], columns=names, use_threads=False)


def _lost_rows(error: str, message: str, path: str, first: int, end: int) -> Iterator[Item]:
    """Each row that cannot be read is a failure of its own: books and limits count rows."""
    for row in range(first, end):
        yield Failure(error, message, Origin(path, row, 1), 0)


def _first_byte(group: Any) -> int:
    column = group.column(0)
    dictionary = column.dictionary_page_offset
    return int(min(column.data_page_offset, dictionary) if dictionary else column.data_page_offset)


FORMATS = (InputFormat("parquet", (".parquet",), "always", read_parquet),)
