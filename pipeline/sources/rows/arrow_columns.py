"""Batches of Arrow and Parquet files as `TextRows`, where their columns have types that need no judgement.

A source of pages, a text in bytes, a path into a text of JSON or a map, a date of another kind, a value that
may not fit its column: such a batch is read row by row, and so is a row without a struct that a path leads
through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.sources.record import Failure, Item, Origin
from gristmill.pipeline.sources.rows.arrow_bounds import MAX_SPELLED_BYTES, cut_by_size
from gristmill.pipeline.sources.rows.arrow_rows import num_bytes, rows_of
from gristmill.pipeline.sources.rows.row import RowReader
from gristmill.pipeline.sources.rows.text_rows import (
    Cells,
    Int64s,
    Mask,
    TextRows,
    as_stored,
    as_texts,
    interleaved,
    text_rows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gristmill.pipeline.sources.settings import SourceSettings

_FIRST_YEAR_MS, _END_MS = -62_135_596_800_000, 253_402_300_800_000  # of Python's calendar: years 1 to 9999


def read_batch(
    batch: pa.RecordBatch, first: int, file: str, reader: RowReader, settings: SourceSettings,
    there: Sequence[str],
) -> Iterator[Item | TextRows]:  # fmt: skip
    """Yield the rows of a batch whose first is the `first` of its file, by columns where that can be."""
    for part in cut_by_size(batch):
        if isinstance(part, int):
            message = f"the row spells out to {part:,} bytes, more than {MAX_SPELLED_BYTES:,}"
            yield Failure("too_large", message, Origin(file, first, 1), 0)
            first += 1
        else:
            yield from _read_part(part, first, file, reader, settings, there)
            first += part.num_rows


def _read_part(
    batch: pa.RecordBatch, first: int, file: str, reader: RowReader, settings: SourceSettings,
    there: Sequence[str],
) -> Iterator[Item | TextRows]:  # fmt: skip
    def one(number: int) -> Iterator[Item]:
        (values,) = rows_of(batch.slice(number, 1)) if batch.num_columns else ({},)
        yield reader.read(values, Origin(file, first + number, 1), num_bytes(values), there)

    made = _by_columns(batch, first, file, settings, there)
    if made is None:
        rows: Any = rows_of(batch) if batch.num_columns else ({} for _ in range(batch.num_rows))
        for number, values in enumerate(rows):
            yield reader.read(values, Origin(file, first + number, 1), num_bytes(values), there)
        return
    yield from interleaved(*made, one)


def _by_columns(
    batch: pa.RecordBatch, first: int, file: str, settings: SourceSettings, there: Sequence[str]
) -> tuple[TextRows, Mask] | None:
    named = settings.columns
    if named.html is not None or not batch.num_columns:
        return None
    roles = {
        "text": named.text,
        "id": named.id,
        "url": named.url,
        "date": named.date,
        "language": named.language,
    }
    try:
        cells = {role: _of_role(batch, role, path) for role, path in roles.items() if path}
        beside = {path: _of_kind(batch, path, kind) for path, kind in settings.passthrough.items()}
        sizes = _text_bytes(batch)
    except MemoryError:
        raise
    except (pa.ArrowException, UnicodeDecodeError):
        return None  # a cell that is no UTF-8, a number beyond its column: found and told row by row
    if not all(cells.values()) or not all(beside.values()):
        return None
    offsets = np.arange(first, first + batch.num_rows, dtype=np.int64)
    places = (offsets, np.ones(batch.num_rows, np.int64), sizes)
    return text_rows(cells, beside, settings, file, places, there)  # type: ignore[arg-type]  # none is None


def _of_role(batch: pa.RecordBatch, role: str, path: str) -> Cells | None:
    found = _at(batch, path)
    if found is None or (role == "text" and pa.types.is_integer(found.values.type)):
        return None
    if role == "date" and pa.types.is_temporal(found.values.type):
        values, beyond = _as_milliseconds(found.values)
        return None if values is None else Cells(values, _either(found.odd, beyond))
    values = as_texts(found.values)
    return None if values is None else Cells(values, found.odd, found.is_absent)


def _of_kind(batch: pa.RecordBatch, path: str, kind: str) -> Cells | None:
    found = _at(batch, path)
    values = None if found is None else as_stored(found.values, kind)
    return None if found is None or values is None else Cells(values, found.odd, found.is_absent)


def _at(batch: pa.RecordBatch, path: str) -> Cells | None:
    """Return a column, or what a path leads to through structs; None where a text or map is in the way."""
    if path in batch.schema.names:
        return Cells(batch.column(path))
    return _below(lambda name: batch.column(name) if name in batch.schema.names else None, path, batch)


def _below(column: Any, path: str, batch: pa.RecordBatch) -> Cells | None:
    parts = path.split(".")
    for length in range(1, len(parts)):
        values = column(".".join(parts[:length]))
        if values is None:
            continue
        if not pa.types.is_struct(values.type):
            return None
        odd = np.asarray(values.is_null()) if values.null_count else None
        rest = ".".join(parts[length:])

        def field(name: str, values: pa.Array = values) -> pa.Array | None:
            number = values.type.get_field_index(name)
            return pc.struct_field(values, number) if number >= 0 else None

        if (whole := field(rest)) is not None:
            return Cells(whole, odd)
        below = _below(field, rest, batch)
        return below and Cells(below.values, _either(odd, below.odd), below.is_absent)
    return Cells(pa.nulls(batch.num_rows), is_absent=True)


def _either(odd: Mask | None, also: Mask | None) -> Mask | None:
    return odd if also is None else also if odd is None else odd | also


def _as_milliseconds(values: pa.Array) -> tuple[pa.Array | None, Mask | None]:
    """Return dates and times as milliseconds since 1970, rounded down, and those that no calendar has."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    elif not pa.types.is_timestamp(values.type):
        return None, None
    unit = values.type.unit
    numbers = values.cast(pa.int64())
    if unit == "s":
        numbers = pc.multiply_checked(numbers, 1000)
    elif unit in ("us", "ns"):
        per = 1000 if unit == "us" else 1_000_000
        counts = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False) // per
        numbers = pa.array(counts, mask=np.asarray(numbers.is_null()))
    beyond = pc.or_(pc.less(numbers, _FIRST_YEAR_MS), pc.greater_equal(numbers, _END_MS))
    return numbers.cast(pa.timestamp("ms")), np.asarray(pc.fill_null(beyond, False))


def _text_bytes(batch: pa.RecordBatch) -> Int64s:
    """Return the payload bytes of each row: those of its texts, as `arrow_rows.num_bytes` counts them."""
    total = np.zeros(batch.num_rows, np.int64)
    for values in batch.columns:
        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.dictionary_decode()
            kind = values.type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            values = values.cast(pa.string())
            kind = values.type
        if pa.types.is_fixed_size_binary(kind):
            total += np.where(np.asarray(values.is_valid()), kind.byte_width, 0)
        elif any(of(kind) for of in _OF_TEXTS):
            total += pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    return total


_OF_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
