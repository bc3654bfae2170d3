"""From a row with columns, of a JSONL or a Parquet file, to a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from gristmill.document import text_key
from gristmill.hashing import digest16
from gristmill.pipeline.sources.record import Failure, Origin, Record
from gristmill.pipeline.sources.wellformed import clean_text

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import Columns, SourceSettings


def row_to_record(
    row: Mapping[str, Any], settings: SourceSettings, origin: Origin, payload_bytes: int
) -> Record | Failure:
    """Make a record of a row; one without a usable text is a failure that says which column was looked
    for."""
    columns = settings.columns
    key, url = _string(row, columns.id), _string(row, columns.url)
    name = columns.html or columns.text or ""
    value = row.get(name)
    if not isinstance(value, str):
        found = (
            "is missing"
            if name not in row
            else "is null"
            if value is None
            else f"is {type(value).__name__}, not a string"
        )
        return Failure("no_text", f"column `{name}` {found}", origin, payload_bytes, key, url)
    if len(value) > settings.max_record_bytes:
        return Failure(
            "too_large",
            f"{len(value)} characters, more than {settings.max_record_bytes}",
            origin,
            payload_bytes,
            key,
            url,
        )
    return _record(row, columns, settings, origin, payload_bytes, value, key, url)


def _record(
    row: Mapping[str, Any],
    columns: Columns,
    settings: SourceSettings,
    origin: Origin,
    payload_bytes: int,
    value: str,
    key: str | None,
    url: str | None,
) -> Record:
    text = clean_text(value)
    is_page = columns.html is not None
    return Record(
        key=key or (digest16(url or "", text).hex() if is_page else text_key(url, text)),
        url=url,
        date=_date(row.get(columns.date) if columns.date else None),
        origin=origin,
        payload_bytes=payload_bytes,
        payload=text.encode() if is_page else None,
        text=None if is_page else text,
        content_type="text/html" if is_page else "text/plain",
        charset="utf-8",
        columns={name: row.get(name) for name in settings.passthrough},
    )


def _string(row: Mapping[str, Any], name: str | None) -> str | None:
    value = row.get(name) if name else None
    if value is None:
        return None
    return clean_text(value) if isinstance(value, str) else json.dumps(value, default=str)


def _date(value: Any) -> str | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return None if value is None else str(value)
