"""Plain rows of texts become documents by columns: keys, gates, languages and tables without a row's object.

What `Extraction` does with a record that is a text, in the same order and to the same bytes; rows that have
to leave are found by columns too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import ORIGIN
from gristmill.pipeline.extract.dates import milliseconds_of
from gristmill.pipeline.extract.decoding.text_bytes import broken_fractions
from gristmill.pipeline.sources.rows.text_rows import TextRows
from gristmill.pipeline.sources.settings import stored_name
from gristmill.text.detection import detect_batch
from gristmill.text.digests import digest16_rows
from gristmill.text.languages import language_code

_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)], "S2")
Mask = npt.NDArray[np.bool_]


class Leaving(NamedTuple):
    """A row that is removed, by which rule."""

    row: int
    rule: str
    value: float | None = None
    bound: float | None = None


def row_keys(rows: TextRows) -> pa.LargeStringArray:
    """Return the key of each row, in hexadecimal digits: of its own id and text, or of URL and text."""
    own = rows.own_ids.is_valid()
    num_own = pc.sum(own).as_py() or 0
    keys = None
    if num_own < len(rows):
        keys = digest16_rows(_no_null(rows.urls), rows.texts)
    if num_own:
        by_id = digest16_rows("row", _no_null(rows.own_ids), rows.texts)
        keys = by_id if keys is None else pc.if_else(own, by_id, keys)
    return _hexadecimal(keys)


def _no_null(values: pa.Array) -> pa.Array:
    return pc.fill_null(values, "") if values.null_count else values


def _hexadecimal(keys: pa.FixedSizeBinaryArray) -> pa.LargeStringArray:
    if not len(keys):
        return pa.array([], pa.large_string())
    whole = np.frombuffer(keys.buffers()[1], np.uint8)[16 * keys.offset : 16 * (keys.offset + len(keys))]
    ends = np.arange(0, 32 * len(keys) + 1, 32, dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(_HEX[whole])]
    return pa.Array.from_buffers(pa.large_string(), len(keys), buffers)


class KeysSeen:
    """The keys of a shard's records so far."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.has_equal_rows = False  # rows without a key of their own, of one text and URL

    def again(self, key: str, *, is_own: bool) -> bool:
        """Whether a record was seen before; take note of it."""
        if key in self.keys:
            self.has_equal_rows |= not is_own
            return is_own
        self.keys.add(key)
        return False

    def again_among(self, keys: pa.LargeStringArray, own: pa.BooleanArray) -> list[int]:
        """Return which rows of a block were seen before, each by a key of its own; take note of all."""
        listed = keys.to_pylist()
        fresh = set(listed)
        if len(fresh) == len(listed) and self.keys.isdisjoint(fresh):
            self.keys |= fresh
            return []
        each = zip(listed, own.to_pylist(), strict=True)
        return [row for row, (key, is_own) in enumerate(each) if self.again(key, is_own=is_own)]


def broken_or_short(texts: pa.LargeStringArray, max_broken: float, min_bytes: int) -> list[Leaving]:
    """Return the rows whose texts are no texts, or too little of one."""
    fractions = broken_fractions(texts)
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    leaving = []
    for row in np.flatnonzero((fractions > max_broken) | (sizes < min_bytes)).tolist():
        if fractions[row] > max_broken:
            leaving.append(Leaving(row, "extract.broken_text", float(fractions[row]), max_broken))
        else:
            leaving.append(Leaving(row, "extract.min_text_bytes", int(sizes[row]), min_bytes))
    return leaving


def document_table(
    rows: TextRows,
    keys: pa.Array,
    source: str,
    schema: pa.Schema,
    stays: Mask,
    passthrough: Mapping[str, str],
    languages: Literal["detect", "column", "off"] = "detect",
) -> pa.Table:
    """Return the documents of the rows that stay, in the order of the input, with languages as they are
    `detect`ed, as the source's `column` has them, or with none."""
    texts = rows.texts
    dates = rows.dates
    if pa.types.is_large_string(dates.type):
        dates = milliseconds_of(dates)
    columns = {
        "id": digest16_rows(source, keys),
        "url": rows.urls,
        "source": pa.repeat(pa.scalar(source, pa.string()), len(rows)),
        "date": dates,
        "text": texts,
        "origin": _origins(rows),
        "language": rows.languages,
        **{stored_name(name): rows.columns[name] for name in passthrough},
    }
    if not stays.all():
        kept = pa.array(stays)
        columns = {name: column.filter(kept) for name, column in columns.items()}
    columns["language"], columns["language_score"] = _languages(
        columns["text"], columns["language"], languages
    )
    return pa.Table.from_arrays([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _languages(
    texts: pa.LargeStringArray, said: pa.LargeStringArray, languages: Literal["detect", "column", "off"]
) -> tuple[pa.Array, pa.Array]:
    """Return codes of languages and their scores."""
    if languages == "detect":
        codes, shares = detect_batch(texts)
        return pa.array(codes, pa.string()), pa.array(shares, mask=np.isnan(shares))
    if languages == "off":
        return pa.nulls(len(texts), pa.string()), pa.nulls(len(texts), pa.float32())
    each = said.dictionary_encode()
    codes_of = pa.array([language_code(name) for name in each.dictionary.to_pylist()], pa.string())
    codes = codes_of.take(each.indices)
    return codes, pc.if_else(codes.is_valid(), 1.0, None)  # the source is taken at its word


def removed_table(
    rows: TextRows,
    keys: pa.Array,
    leaving: list[Leaving],
    source: str,
    schema: pa.Schema,
    passthrough: Mapping[str, str],
) -> pa.Table:
    """Return the rows that leave, without their texts, with the rule that each fails."""
    places = pa.array([each.row for each in leaving], pa.int64())
    rules = pa.array([each.rule for each in leaving], pa.string())
    dates = rows.dates.take(places)
    columns = {
        "id": digest16_rows(source, keys.take(places)),
        "url": rows.urls.take(places),
        "source": pa.repeat(pa.scalar(source, pa.string()), len(leaving)),
        "date": milliseconds_of(dates) if pa.types.is_large_string(dates.type) else dates,
        "origin": _origins(rows).take(places),
        **{stored_name(name): rows.columns[name].take(places) for name in passthrough},
        "rule": rules,
        "value": pa.array([each.value for each in leaving], pa.float64()),
        "bound": pa.array([each.bound for each in leaving], pa.float64()),
        "rules": pa.ListArray.from_arrays(pa.array(range(len(leaving) + 1), pa.int32()), rules),
    }
    none = {"text", "language", "language_score"}
    made = [
        pa.nulls(len(leaving), field.type) if field.name in none else columns[field.name].cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(made, schema=schema)


def _origins(rows: TextRows) -> pa.StructArray:
    files = pa.repeat(pa.scalar(rows.file, pa.string()), len(rows))
    places = [pa.array(rows.offsets), pa.array(rows.lengths)]
    return pa.StructArray.from_arrays([files, *places], fields=list(ORIGIN))
