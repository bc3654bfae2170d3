"""Rows of texts by columns: what a run of `Record`s says, in Arrow arrays and without an object for each.

Only rows with nothing odd about them are held so: a text of valid UTF-8 within the bound and without NUL, and
values beside it that need no judgement. Whatever else a row may be, it is read by itself, by
`gristmill.pipeline.sources.rows.row`; both ways say the same of a row that both can read.

    rows = TextRows(...); rows.slice(3, 10); list(rows.records())
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.sources.record import MAX_URL_CHARACTERS, Item, Origin, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gristmill.pipeline.sources.settings import SourceSettings

Mask = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALL_ODD = 4  # where one in so many rows is odd, all of a block are read one by one


@dataclass(frozen=True, slots=True)
class Cells:
    """One named column of a block: an array with null where a row has no value, and the rows whose value
    only the careful reader can judge. `is_absent`: no row has the column at all."""

    values: pa.Array
    odd: Mask | None = None
    is_absent: bool = False


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows of one input in their order; every column has as many values as there are `offsets`.

    `dates` are texts as the source writes them, or timestamps in milliseconds; `languages` are null where the
    settings name no column of them. `columns` are a user's
    pass-through columns in the types that documents hold them in. `absent` are the columns that the settings
    name and none of these rows has.
    """

    file: str
    texts: pa.LargeStringArray
    own_ids: pa.LargeStringArray
    urls: pa.LargeStringArray
    dates: pa.Array
    languages: pa.LargeStringArray
    columns: Mapping[str, pa.Array]
    offsets: Int64s
    lengths: Int64s
    payload_bytes: Int64s
    absent: tuple[str, ...] = ()
    there: tuple[str, ...] = ()  # where some are absent: the columns that there are, if their format says so

    def __len__(self) -> int:
        return len(self.offsets)

    def slice(self, start: int, stop: int) -> TextRows:
        def cut(array: pa.Array) -> pa.Array:
            return array.slice(start, stop - start)

        return replace(
            self,
            texts=cut(self.texts),
            own_ids=cut(self.own_ids),
            urls=cut(self.urls),
            dates=cut(self.dates),
            languages=cut(self.languages),
            columns={name: cut(column) for name, column in self.columns.items()},
            offsets=self.offsets[start:stop],
            lengths=self.lengths[start:stop],
            payload_bytes=self.payload_bytes[start:stop],
        )

    def records(self) -> Iterator[Record]:
        """Yield each row as the careful reader would."""
        from gristmill.hashing import digest16

        columns = {name: column.to_pylist() for name, column in self.columns.items()}
        dates = self.dates if pa.types.is_large_string(self.dates.type) else self.dates.cast(pa.int64())
        several = (self.texts, self.own_ids, self.urls, dates, self.languages)
        places = (self.offsets, self.lengths, self.payload_bytes)
        rows = zip(*(array.to_pylist() for array in several), *(of.tolist() for of in places), strict=True)
        for number, (text, own_id, url, date, language, offset, length, payload_bytes) in enumerate(rows):
            key = digest16(url or "", text) if own_id is None else digest16("row", own_id, text)
            yield Record(
                key=key.hex(),
                url=url,
                date=(_EPOCH + timedelta(milliseconds=date)).isoformat() if isinstance(date, int) else date,
                origin=Origin(self.file, offset, length),
                payload_bytes=payload_bytes,
                text=text,
                content_type="text/plain",
                charset="utf-8",
                columns={name: column[number] for name, column in columns.items()},
                language=language,
                own_id=own_id,
                has_own_key=own_id is not None,
                absent=self.absent,
                there=self.there,
            )


def interleaved(
    rows: TextRows, odd: Mask, read: Callable[[int], Iterator[Item]]
) -> Iterator[Item | TextRows]:
    """Yield runs of plain rows, and between them what `read` says of each odd one, in order."""
    places = np.flatnonzero(odd)
    if len(places) * _ALL_ODD > len(rows):
        for number in range(len(rows)):
            yield from read(number)
        return
    for before, place in pairwise([-1, *places.tolist(), len(rows)]):
        if place > before + 1:
            yield rows.slice(before + 1, place)
        if place < len(rows):
            yield from read(place)


def text_rows(
    cells: Mapping[str, Cells],
    beside: Mapping[str, Cells],
    settings: SourceSettings,
    file: str,
    places: tuple[Int64s, Int64s, Int64s],
    there: Sequence[str] = (),
) -> tuple[TextRows, Mask]:
    """Make rows of a block's columns; also tell which are odd.

    `cells` are those that `text`, `id`, `url`, `date` and `language` name, as large_string, dates also as
    timestamps in milliseconds; `beside` are pass-through columns by name, in the type that their kind is
    stored as. `places` are offsets, lengths and payload bytes.
    """
    num_rows = len(places[0])
    none = Cells(pa.nulls(num_rows, pa.large_string()))
    texts = cells["text"].values
    roles = ("id", "url", "language")
    ids, urls, languages = (_null_if_empty(cells.get(role, none).values) for role in roles)
    odd = np.asarray(texts.is_null())
    for of in (*cells.values(), *beside.values()):
        if of.odd is not None:
            odd = odd | of.odd
    odd = odd | _longer(texts, settings.max_record_bytes) | _longer(urls, MAX_URL_CHARACTERS)
    columns = {name: of.values for name, of in beside.items()}
    for values in (texts, ids, urls, languages, *columns.values()):
        if pa.types.is_large_string(values.type):
            odd = odd | _with_nul(values)
    named = settings.columns
    said = (("id", named.id), ("url", named.url), ("date", named.date), ("language", named.language))
    lacking = [name for name in settings.passthrough if beside[name].is_absent]
    lacking += [
        name for kind, name in said if name and cells[kind].is_absent and (name != kind or kind == "language")
    ]
    dates = cells.get("date", none).values
    has = tuple(there) if lacking else ()
    return TextRows(file, texts, ids, urls, dates, languages, columns, *places, tuple(lacking), has), odd


def _null_if_empty(values: pa.Array) -> pa.Array:
    empty = pc.equal(pc.binary_length(values), 0)
    return pc.if_else(empty, pa.scalar(None, values.type), values) if pc.any(empty).as_py() else values


def _longer(values: pa.Array, bound: int) -> Mask:
    """Values of more bytes than a bound of characters: those that may have more characters, too."""
    return np.asarray(pc.fill_null(pc.greater(pc.binary_length(values), bound), False))


def _with_nul(values: pa.Array) -> Mask:
    found = np.zeros(len(values), bool)
    data = values.buffers()[2]
    if len(values) and data is not None and data.size and np.frombuffer(data, np.uint8).min() == 0:
        holds = pc.match_substring(values.cast(pa.large_binary()), b"\0")
        found |= np.asarray(pc.fill_null(holds, False))
    return found


def as_texts(values: pa.Array) -> pa.Array | None:
    """Return a column as large_string, spelled as `values.as_text` does; None for a type that it is not made
    of by columns. Raises pa.ArrowInvalid where a text is no UTF-8."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return None
        values = values.dictionary_decode()
    if pa.types.is_null(kind) or pa.types.is_integer(kind):
        return values.cast(pa.large_string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values.validate(full=True)
        return values.cast(pa.large_string())
    return None


def as_stored(values: pa.Array, kind: str) -> pa.Array | None:
    """Return a column in the type that a pass-through kind is stored as; None where values may not fit."""
    has = values.type
    if pa.types.is_null(has):
        return pa.nulls(len(values), _STORED[kind])
    if kind == "string":
        return as_texts(values)
    if kind == "int64" and pa.types.is_integer(has) and not pa.types.is_uint64(has):
        return values.cast(pa.int64())
    if kind == "float64" and (pa.types.is_float32(has) or pa.types.is_float64(has)):
        return values.cast(pa.float64())
    if kind == "bool" and pa.types.is_boolean(has):
        return values
    return None


_STORED = {
    "string": pa.large_string(),
    "json": pa.large_string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
