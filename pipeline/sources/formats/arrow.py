"""Arrow IPC files and streams, as `datasets` saves them: read batch by batch, whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.record import Failure, InputRange, Item, Origin, RangeEnd
from gristmill.pipeline.sources.rows.arrow_bounds import batch_rows, check_sound, too_many_rows
from gristmill.pipeline.sources.rows.arrow_columns import read_batch
from gristmill.pipeline.sources.rows.arrow_rows import (
    SeekableFile,
    one_line,
    repeated_column,
    wanted_paths,
)
from gristmill.pipeline.sources.rows.row import RowReader
from gristmill.pipeline.sources.rows.text_rows import TextRows
from gristmill.pipeline.sources.window import ByteWindow

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings

_MAGIC = b"ARROW1"


def read_arrow(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item | TextRows]:
    """Yield the rows of a file or stream, then the `RangeEnd`; the origin of a row is its number."""
    yield from _rows(window, source, settings)
    yield RangeEnd(source.shown, source.start, source.end, 0, window.size)


def _rows(window: ByteWindow, source: InputRange, settings: SourceSettings) -> Iterator[Item | TextRows]:
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
            check_sound(chosen)
            most = batch_rows(batch.num_rows, batch.nbytes)
            for at in range(0, batch.num_rows, most):
                part = chosen.slice(at, most)
                yield from read_batch(part, row, shown, reader, settings, batch.schema.names)
                row += part.num_rows
    except MemoryError:  # Arrow's is an ArrowException, too: the machine's state is no damage
        raise
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
