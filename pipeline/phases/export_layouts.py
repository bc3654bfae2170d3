"""The columns of published corpora, for documents that are handed over: `dolma`, `fineweb`, `huggingface`.

Ids are strings: the source's own where documents carry it, else the hexadecimal id of gristmill.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import FIELDS
from gristmill.errors import UsageError

_OWN = tuple(field.name for field in FIELDS)
_OWN_IDS = ("input.id", "warc.WARC-Record-ID", "warc.warc-record-id")


@dataclass(frozen=True, slots=True)
class Handing:
    """What a layout needs to know of the rows: their source, the column that goes by `id`, which columns hold
    JSON, and the step that let them go, if one did."""

    source: str
    id_column: str | None = None
    json_columns: tuple[str, ...] = ()
    step: str = ""


Layout = Callable[[pa.Table, Handing], pa.Table]


def native(table: pa.Table, handing: Handing) -> pa.Table:
    """Gristmill's own columns; `id_column` may go by `id`, gristmill's then by `gristmill_id`."""
    if handing.id_column is not None:
        _check_column(table, handing)
        names = {"id": "gristmill_id", handing.id_column: "id"}
        table = table.rename_columns([names.get(name, name) for name in table.column_names])
    return _with_step(table, handing)


def huggingface(table: pa.Table, handing: Handing) -> pa.Table:
    """Flat columns as `datasets` has them: id, text, url, source, date, language, then one's own."""
    columns: dict[str, Any] = {"id": ids(table, handing)}
    for name in ("text", "url", "source", "date", "language", "language_score"):
        if name in table.column_names:
            columns[name] = table[name]
    columns |= _further(table, handing)
    return _with_step(pa.table(columns), handing)


def fineweb(table: pa.Table, handing: Handing) -> pa.Table:
    """The columns of FineWeb: text, id, dump, url, date, file_path, language, language_score, token_count
    (where documents were encoded), and one's own."""
    num = table.num_rows
    columns: dict[str, Any] = {"text": table["text"]} if "text" in table.column_names else {}
    columns |= {
        "id": ids(table, handing),
        "dump": table["source"],
        "url": table["url"],
        "date": dates(table["date"]) if "date" in table.column_names else pa.nulls(num, pa.string()),
        "file_path": pc.struct_field(table["origin"], "file"),
    }
    for name in ("language", "language_score"):
        if name in table.column_names:
            columns[name] = table[name]
    columns |= _further(table, handing)
    return _with_step(pa.table(columns), handing)


def dolma(table: pa.Table, handing: Handing) -> pa.Table:
    """The fields of Dolma: id, text, source, added, created, and all else under `metadata`."""
    date = dates(table["date"]) if "date" in table.column_names else pa.nulls(table.num_rows, pa.string())
    nested: dict[str, Any] = {"url": table["url"], "file": pc.struct_field(table["origin"], "file")}
    for name in ("language", "language_score"):
        if name in table.column_names:
            nested[name] = table[name]
    nested |= _further(table, handing)
    if handing.step:
        nested["step"] = pa.array([handing.step] * table.num_rows, pa.string())
    metadata = pa.table(nested).to_struct_array()
    columns: dict[str, Any] = {"id": ids(table, handing)}
    if "text" in table.column_names:
        columns["text"] = table["text"]
    columns |= {"source": table["source"], "added": date, "created": date, "metadata": metadata}
    return pa.table(columns)


LAYOUTS: Mapping[str, Layout] = {
    "native": native,
    "dolma": dolma,
    "fineweb": fineweb,
    "huggingface": huggingface,
}
_NESTED = {"dolma": "metadata"}  # where a layout puts further columns


def ids(table: pa.Table, handing: Handing) -> pa.ChunkedArray:
    """The ids as strings: the column asked for, else the source's own, else hexadecimal; never null."""
    if handing.id_column is not None:
        _check_column(table, handing)
    own = handing.id_column or next((name for name in _OWN_IDS if name in table.column_names), None)
    ours = pa.chunked_array([[value.hex() for value in table["id"].to_pylist()]], pa.string())
    return ours if own is None else pc.coalesce(pc.cast(table[own], pa.string()), ours)


def dates(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dates as ISO 8601 in UTC, to the millisecond."""
    return pc.strftime(pc.cast(column, pa.timestamp("ms", tz="UTC")), format="%Y-%m-%dT%H:%M:%SZ")


def rows_of(table: pa.Table, layout: str, handing: Handing) -> list[dict[str, Any]]:
    """Rows for JSON lines: columns of JSON are objects, bytes hexadecimal, dates ISO 8601."""
    found: list[dict[str, Any]] = table.to_pylist()
    for name in handing.json_columns:
        for row in found:
            place = row.get(_NESTED[layout]) if layout in _NESTED else row
            if isinstance(place, dict) and isinstance(place.get(name), str):
                place[name] = _parsed(place[name])
    return found


def plain(value: Any) -> Any:
    """What JSON has no form for."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"cannot export a {type(value).__name__}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _further(table: pa.Table, handing: Handing) -> dict[str, Any]:
    """The columns besides a document's own; bytes, such as the id of a cluster, as hexadecimal strings."""
    used = {*_OWN, handing.id_column, "input.id"}
    return {name: _readable(table[name]) for name in table.column_names if name not in used}


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not (pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type)):
        return column
    texts = [None if value is None else value.hex() for value in column.to_pylist()]
    return pa.chunked_array([texts], pa.string())


def _with_step(table: pa.Table, handing: Handing) -> pa.Table:
    if not handing.step:
        return table
    return table.append_column("step", pa.array([handing.step] * table.num_rows, pa.string()))


def _check_column(table: pa.Table, handing: Handing) -> None:
    if handing.id_column not in table.column_names:
        raise UsageError(
            f"the documents of `{handing.source}` have no column `{handing.id_column}`",
            hint=f"keep it with `passthrough: [id]`; there are {', '.join(table.column_names)}",
        )
