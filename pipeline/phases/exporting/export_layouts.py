"""The columns of published corpora, for documents that are handed over.

Ids are strings: the source's own where documents carry it, else the hexadecimal id of gristmill. C4 and
RedPajama have no ids: there documents go by their URLs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import FIELDS
from gristmill.errors import UsageError
from gristmill.files.inside import parsed
from gristmill.urls import host_of

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
    columns: dict[str, Any] = {
        **_text(table, "text"),
        "id": ids(table, handing),
        "dump": table["source"],
        "url": table["url"],
        "date": _date(table),
        "file_path": pc.struct_field(table["origin"], "file"),
        **_language(table),
    }
    return _with_step(pa.table(columns | _further(table, handing)), handing)


def dolma(table: pa.Table, handing: Handing) -> pa.Table:
    """The fields of Dolma: id, text, source, added, created, and all else under `metadata`."""
    date = _date(table)
    nested: dict[str, Any] = {"url": table["url"], "file": pc.struct_field(table["origin"], "file")}
    metadata = _nested(table, handing, nested)
    columns: dict[str, Any] = {"id": ids(table, handing), **_text(table, "text")}
    columns |= {"source": table["source"], "added": date, "created": date, "metadata": metadata}
    return pa.table(columns)


def c4(table: pa.Table, handing: Handing) -> pa.Table:
    """The fields of C4: text, timestamp, url; then one's own."""
    columns: dict[str, Any] = {**_text(table, "text"), "timestamp": _date(table), "url": table["url"]}
    return _with_step(pa.table(columns | _further(table, handing)), handing)


def redpajama_v1(table: pa.Table, handing: Handing) -> pa.Table:
    """The fields of RedPajama-1T and SlimPajama: text, and under `meta` its url, timestamp, source, language
    and all else."""
    nested = {"url": table["url"], "timestamp": _date(table), "source": table["source"]}
    return pa.table({**_text(table, "text"), "meta": _nested(table, handing, nested)})


def redpajama_v2(table: pa.Table, handing: Handing) -> pa.Table:
    """The fields of RedPajama-V2's documents, which are CCNet's: url, date_download, digest (SHA-1 of the
    text in base 32), length in characters, nlines, source_domain, cc_segment (the file), raw_content,
    language, language_score; then one's own."""
    columns: dict[str, Any] = {"url": table["url"], "date_download": _date(table)}
    if "text" in table.column_names:
        texts = table["text"]
        columns["digest"] = pa.array([_sha1(text.as_py()) for text in texts], pa.string())
        columns["length"] = pc.utf8_length(texts)
        columns["nlines"] = pc.add(pc.count_substring(texts, "\n"), 1)
    columns |= {
        "source_domain": pa.array([host_of(url.as_py()) for url in table["url"]], pa.string()),
        "cc_segment": pc.struct_field(table["origin"], "file"),
        **_text(table, "raw_content"),
        **_language(table),
    }
    return _with_step(pa.table(columns | _further(table, handing)), handing)


LAYOUTS: Mapping[str, Layout] = {
    "native": native,
    "dolma": dolma,
    "fineweb": fineweb,
    "huggingface": huggingface,
    "c4": c4,
    "redpajama-v1": redpajama_v1,
    "redpajama-v2": redpajama_v2,
}
_NESTED = {"dolma": "metadata", "redpajama-v1": "meta"}  # where a layout puts further columns


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
        return parsed(text)
    except ValueError:
        return text


def _text(table: pa.Table, name: str) -> dict[str, Any]:
    """The texts under a layout's name; some exports carry none."""
    return {name: table["text"]} if "text" in table.column_names else {}


def _date(table: pa.Table) -> Any:
    return dates(table["date"]) if "date" in table.column_names else pa.nulls(table.num_rows, pa.string())


def _language(table: pa.Table) -> dict[str, Any]:
    return {name: table[name] for name in ("language", "language_score") if name in table.column_names}


def _nested(table: pa.Table, handing: Handing, first: Mapping[str, Any]) -> pa.Array:
    """One column of structs: what a layout names first, the language, and further columns."""
    fields = {**first, **_language(table), **_further(table, handing)}
    if handing.step:
        fields["step"] = pa.array([handing.step] * table.num_rows, pa.string())
    return pa.table(fields).to_struct_array()


def _sha1(text: str) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(text.encode(), usedforsecurity=False).digest()).decode()


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
