"""Arrow IPC files and streams, as `datasets` saves them: read batch by batch, whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gristmill.pipeline.sources.arrow_rows import (
    SeekableFile,
    num_bytes,
    one_line,
    repeated_column,
    rows_of,
    too_many_rows,
    wanted_paths,
)
from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.record import Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows import RowReader
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

_MAGIC = b"ARROW1"
_BATCH_ROWS = 256


def read_arrow(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
    """Yield the rows of a file or stream, then the `RangeEnd`; the origin of a row is its number."""
    yield from _rows(window, source, settings)
    yield RangeEnd(source.shown, source.start, source.end, 0, window.size)


def _rows(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item]:
    row, end, shown = 0, 0, source.shown
    if window.size == 0:
        yield Failure("empty_file", "the file has no bytes", Origin(source.shown, 0, 0), 0)
        return
    reader = RowReader(settings)
    try:
        for batch in _batches(window):
            if claimed := too_many_rows(end + batch.num_rows, window.size):
                raise pa.ArrowInvalid(claimed)
            row, end = end, end + batch.num_rows
            if twice := repeated_column(batch.schema, settings):
                raise pa.ArrowInvalid(f"the file has two columns `{twice}`")
            heads = [path.partition(".")[0] for path in wanted_paths(settings)]
            names = [name for name in batch.schema.names if name in {*heads, *wanted_paths(settings)}]
            chosen = batch.select(names)
            for at in range(0, batch.num_rows, _BATCH_ROWS):
                part = chosen.slice(at, _BATCH_ROWS)
                rows: Any = (
                    rows_of(part) if names else ({} for _ in range(min(_BATCH_ROWS, batch.num_rows - at)))
                )
                for values in rows:
                    origin = Origin(shown, row, 1)
                    yield reader.read(values, origin, num_bytes(values), batch.schema.names)
                    row += 1
    except (pa.ArrowException, OSError) as error:
        # A stream does not say how many rows it has: what lies behind the damage is one failure.
        error_name = "damaged_batch" if end else "not_arrow"
        for lost in range(row, max(end, row + 1)):
            yield Failure(error_name, one_line(error), Origin(source.shown, lost, 1), 0)


def _batches(window: ByteWindow) -> Iterator[pa.RecordBatch]:
    """Read batches one by one; without memory maps, so that no page that was read stays."""
    file = pa.PythonFile(SeekableFile(window), mode="r")
    if window.head(len(_MAGIC)) == _MAGIC:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)
    else:
        yield from pa.ipc.open_stream(file)


FORMATS = (InputFormat("arrow", (".arrow", ".feather", ".ipc"), "never", read_arrow),)
