"""From a row with columns, of any format that has rows, to a record.

A column is named by its name or by a path: `metadata.url` is the column of that name, else the field `url` of
the struct, of the object, or of the text of a JSON object in `metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import orjson

from gristmill.hashing import digest16
from gristmill.pipeline.extract.decoding.charset import decode
from gristmill.pipeline.sources.archives.httpmessage import text_of
from gristmill.pipeline.sources.record import MAX_URL_CHARACTERS, Failure, Origin, Record
from gristmill.pipeline.sources.rows.values import as_text
from gristmill.pipeline.sources.wellformed import clean_text

if TYPE_CHECKING:
    from gristmill.pipeline.sources.settings import SourceSettings


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A cell that the file holds but that is no value of its column's type: `error` names the kind."""

    error: str
    message: str


_MISSING = object()


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """Return the value of a column or of a path into one; `_MISSING` where there is none."""
    if path in row:
        return row[path]
    head, dot, rest = path.partition(".")
    while dot:
        if head in row:
            below = row[head]
            if isinstance(below, str) and below.lstrip()[:1] == "{":
                try:
                    below = orjson.loads(below)
                except orjson.JSONDecodeError:
                    return Unreadable("not_json", f"column `{head}` holds no JSON object")
            if isinstance(below, Unreadable):
                return below
            if isinstance(below, list) and below and isinstance(below[0], tuple):  # an Arrow map's pairs
                below = dict(below)
            return value_at(below, rest) if isinstance(below, Mapping) else _MISSING
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return _MISSING


class RowReader:
    """Makes records of a source's rows; what its settings say is looked up once."""

    def __init__(self, settings: SourceSettings) -> None:
        columns = settings.columns
        self._is_page = columns.html is not None
        self._content = columns.html or columns.text or ""
        self._id, self._url, self._date = columns.id, columns.url, columns.date
        self._max_bytes = settings.max_record_bytes
        self._passthrough = tuple(settings.passthrough)
        self._language = columns.language
        named = (("id", columns.id), ("url", columns.url), ("date", columns.date), ("", columns.language))
        self._asked = tuple(said for kind, said in named if said and said != kind)

    def read(
        self, row: Mapping[str, Any], origin: Origin, payload_bytes: int, there: Sequence[str] = ()
    ) -> Record | Failure:
        """Make a record of a row; one without a usable text is a failure that says which column was looked
        for.

        `there` are the columns of the file, where not all of them were read.
        """
        name = self._content
        value = value_at(row, name)
        own_id = value_at(row, self._id) if self._id else None
        url = value_at(row, self._url) if self._url else None
        for said, cell in ((name, value), (self._id, own_id), (self._url, url)):
            if isinstance(cell, Unreadable):
                return Failure(cell.error, f"column `{said}`: {cell.message}", origin, payload_bytes)
        own_id, url = _text(own_id), _text(url)
        if not isinstance(value, str | bytes):
            kind = "null" if value is None else f"{type(value).__name__}, not a string"
            found = (
                f"is missing; there are {spell_columns(there or tuple(row))}"
                if value is _MISSING
                else f"is {kind}"
            )
            return Failure("no_text", f"column `{name}` {found}", origin, payload_bytes, None, url, own_id)
        if len(value) > self._max_bytes:
            unit = "characters" if isinstance(value, str) else "bytes"
            message = f"{len(value)} {unit}, more than {self._max_bytes}"
            return Failure("too_large", message, origin, payload_bytes, None, url, own_id)
        return self._record(row, origin, payload_bytes, value, own_id, url, there)

    def _record(
        self,
        row: Mapping[str, Any],
        origin: Origin,
        payload_bytes: int,
        value: str | bytes,
        own_id: str | None,
        url: str | None,
        there: Sequence[str],
    ) -> Record:
        is_page = self._is_page
        notes: list[str] = []
        if url is not None and len(url) > MAX_URL_CHARACTERS:
            url = None
            notes.append("url_too_long")
        if isinstance(value, bytes):  # in a binary column nothing says that it is UTF-8: as pages are read
            payload, text = value, "" if is_page else clean_text(decode(value)[0])
        else:
            text = clean_text(value)
            payload = text.encode() if is_page else b""
        content: str | bytes = payload if is_page else text
        # Ids often start anew in each file of a corpus: only with the same text it is the same row.
        key = digest16("row", own_id, content) if own_id is not None else digest16(url or "", content)
        when = value_at(row, self._date) if self._date else None
        if isinstance(when, Unreadable):
            when = None
            notes.append("unreadable_date")
        language = value_at(row, self._language) if self._language else None
        if isinstance(language, Unreadable):
            language = None
            notes.append(f"unreadable.{self._language}")
        passed = {name: value_at(row, name) for name in self._passthrough}
        notes += [f"unreadable.{name}" for name, cell in passed.items() if isinstance(cell, Unreadable)]
        absent = [name for name, cell in passed.items() if cell is _MISSING]
        absent += [said for said in self._asked if value_at(row, said) is _MISSING]
        return Record(
            key=key.hex(),
            url=url,
            date=_date(when),
            origin=origin,
            payload_bytes=payload_bytes,
            payload=payload if is_page else None,
            text=None if is_page else text,
            content_type="text/html" if is_page else "text/plain",
            charset="utf-8" if isinstance(value, str) else None,
            columns={
                name: None if cell is _MISSING or isinstance(cell, Unreadable) else cell
                for name, cell in passed.items()
            },
            language=_text(language),
            own_id=own_id,
            has_own_key=own_id is not None,
            notes=tuple(notes),
            absent=tuple(absent),
            there=tuple(there or row) if absent else (),
        )


def _text(value: Any) -> str | None:
    if value is None or value is _MISSING or value == "":
        return None
    return text_of(value) if isinstance(value, bytes) else as_text(value)


def _date(value: Any) -> str | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return None if value is None or value is _MISSING else as_text(value)


def spell_columns(there: Sequence[Any]) -> str:
    """Name the columns that there are, the first of many."""
    names = [str(name) for name in there][:12]
    return ", ".join(names)[:200] + (", ..." if len(there) > len(names) else "") if names else "none"
