"""Rows of documents, removed documents and failures, gathered until they are worth an Arrow table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from gristmill.index import own_keys
from gristmill.pipeline.extract.dates import milliseconds
from gristmill.pipeline.extract.gates import Removal
from gristmill.pipeline.sources.record import Failure, Origin, Record
from gristmill.pipeline.sources.rows.values import as_bool, as_float64, as_int64, as_json, as_text
from gristmill.pipeline.sources.settings import stored_name
from gristmill.text.detection import Found, detect_batch
from gristmill.text.digests import digest16_rows

_FULL_ROWS = 2048
_FULL_BYTES = 16 << 20


# Documents, removed, failed; of each the keys of its rows' own ids; whether each document has its own key.
Flushed = tuple[pa.Table, pa.Table, pa.Table, tuple[pa.Array, ...], list[bool]]


class Tables:
    """Three tables that grow together."""

    def __init__(
        self,
        documents: pa.Schema,
        removed: pa.Schema,
        failed: pa.Schema,
        source: str,
        passthrough: Mapping[str, str],
    ) -> None:
        self._schemas = documents, removed, failed
        self._source = source
        self._passthrough = {
            name: (stored_name(name), kind, _CONVERTERS[kind]) for name, kind in passthrough.items()
        }
        self.notes: Counter[str] = Counter()  # values that a pass-through column could not hold
        self._clear()

    @property
    def is_empty(self) -> bool:
        return not any(self._rows)

    @property
    def is_full(self) -> bool:
        return self._num_bytes >= _FULL_BYTES or sum(map(len, self._rows)) >= _FULL_ROWS

    def keep(
        self,
        record: Record,
        text: str,
        num_bytes: int,
        told: Found | None,
        said: Mapping[str, Any],
    ) -> None:
        """Add a document; where nothing is `told` of its language, its text is asked with all of its
        table."""
        if told is None:
            self._untold.append(len(self._rows[0]))
        self._num_bytes += num_bytes
        self._rows[0].append(self._document(record, text, told or (None, None), said))
        self._own_ids[0].append(record.own_id)
        self._are_own.append(record.has_own_key)

    def remove(self, record: Record, removal: Removal) -> None:
        self._own_ids[1].append(record.own_id)
        row = self._document(record, None, (None, None), {})
        self._rows[1].append(
            row
            | {
                "rule": removal.rule,
                "value": removal.value,
                "bound": removal.bound,
                "rules": [removal.rule],
            }
        )

    def fail(self, failure: Failure) -> None:
        self._own_ids[2].append(failure.own_id)
        # A stretch of bytes has no key of its own; where it lies is all that can name it.
        key = failure.key or f"{failure.origin.file}@{failure.origin.offset}+{failure.origin.length}"
        self._rows[2].append(
            {
                "id": key,  # hashed with all of its table
                "url": failure.url,
                "source": self._source,
                "error": failure.error,
                "message": failure.message,
                "origin": _origin(failure.origin),
                "payload_bytes": failure.payload_bytes,
            }
        )

    def flush(self) -> Flushed:
        """Return the three tables with what goes beside them, and start anew."""
        self._tell_languages()
        documents, removed, failed = (
            _table(rows, schema, self._source) for rows, schema in zip(self._rows, self._schemas, strict=True)
        )
        own = tuple(own_keys(_as_bytes(ids)) for ids in self._own_ids)
        are_own = self._are_own
        self._clear()
        return documents, removed, failed, own, are_own

    def _clear(self) -> None:
        self._rows: tuple[list[dict[str, Any]], ...] = ([], [], [])
        self._own_ids: tuple[list[str | None], ...] = ([], [], [])
        self._are_own: list[bool] = []
        self._untold: list[int] = []  # documents whose texts are to be asked for their languages
        self._num_bytes = 0

    def _tell_languages(self) -> None:
        if not self._untold:
            return
        rows = [self._rows[0][place] for place in self._untold]
        codes, shares = detect_batch(pa.array([row["text"] for row in rows], pa.large_string()))
        for row, code, share in zip(rows, codes, shares.tolist(), strict=True):
            row["language"], row["language_score"] = code, None if code is None else share

    def _document(
        self,
        record: Record,
        text: str | None,
        told: Found,
        said: Mapping[str, Any],
    ) -> dict[str, Any]:
        return {
            "id": record.key,  # hashed with all of its table
            "url": record.url,
            "source": self._source,
            "date": milliseconds(record.date),
            "text": text,
            "language": told[0],
            "language_score": told[1],
            "origin": _origin(record.origin),
        } | self._passed_through(record, said)

    def _passed_through(self, record: Record, said: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for name, (stored, kind, convert) in self._passthrough.items():
            value = _column(name, record, said)
            try:
                values[stored] = None if value is None else convert(value)
            except RecursionError:  # nested beyond what can be spelled
                values[stored] = None
            if value is not None and values[stored] is None:
                self.notes[f"no_{kind}.{name}"] += 1
        return values


def _as_bytes(values: Sequence[str | None]) -> pa.Array:
    """Lone surrogates have bytes, too, but Arrow takes none in a string."""
    encoded = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values]
    return pa.array(encoded, pa.large_binary())


def _table(rows: list[dict[str, Any]], schema: pa.Schema, source: str) -> pa.Table:
    """Make columns of rows; an id is `document_id` of the source and the row's key."""
    columns = [
        digest16_rows(source, _as_bytes([row["id"] for row in rows]))
        if field.name == "id"
        else pa.array([row[field.name] for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _origin(origin: Origin) -> dict[str, Any]:
    return {"file": origin.file, "offset": origin.offset, "length": origin.length}


def _column(name: str, record: Record, said: Mapping[str, Any]) -> Any:
    if name in record.columns:
        return record.columns[name]
    if name == "http.status":
        return record.status
    kind, _, key = name.partition(".")
    said_by: dict[str, Mapping[str, Any]] = {
        "page": said,
        "warc": record.warc_headers,
        "http": record.http_headers,
    }
    return said_by.get(kind, {}).get(key)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "string": as_text,
    "json": as_json,
    "int64": as_int64,
    "float64": as_float64,
    "bool": as_bool,
}
