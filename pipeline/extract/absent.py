"""Columns that a source's settings name and that none of its records has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gristmill.facts import Facts
from gristmill.pipeline.sources.record import Record
from gristmill.pipeline.sources.rows import spell_columns
from gristmill.pipeline.sources.text_rows import TextRows

_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Absent(Facts):
    """`columns` that no record of a shard has, the first that are `there`, and the `records` seen."""

    absent: dict[str, Any] | None = None


class AbsentColumns:
    """The columns that all records so far lack, and what the first of them has instead.

    Of web archives those that are in the headers are looked for; `page.` columns come of extraction.
    """

    def __init__(self, passthrough: Iterable[str]) -> None:
        self._archived = [name for name in passthrough if not name.startswith("page.")]
        self._absent: list[str] | None = None
        self._there: tuple[str, ...] = ()
        self._seen = 0

    def see(self, record: Record) -> None:
        """Take note of one record; costs next to nothing once each column was seen."""
        self._seen += 1
        if self._absent is None:
            self._absent, self._there = self._lacking(record), record.there or _headers(record)
        elif self._absent:
            lacking = self._lacking(record)
            self._absent = [name for name in self._absent if name in lacking]

    def see_rows(self, rows: TextRows) -> None:
        """Take note of rows by columns."""
        self._seen += len(rows)
        if self._absent is None:
            self._absent, self._there = list(rows.absent), rows.there
        elif self._absent:
            self._absent = [name for name in self._absent if name in rows.absent]

    def facts(self) -> Absent:
        """For the shard's record; none where nothing is absent."""
        if not self._absent:
            return Absent()
        there = list(self._there[: _MOST_NAMED + 1])
        return Absent({"columns": self._absent, "there": there, "records": self._seen})

    def _lacking(self, record: Record) -> list[str]:
        if record.columns or not (record.warc_headers or record.http_headers):
            return list(record.absent)
        return [name for name in self._archived if not _in_headers(name, record)]


def absent_notes(shards: Iterable[tuple[int, Absent]], source: str) -> list[str]:
    """Say which columns none of a source's records has; `shards` are the number of documents of each, and
    what is absent from it."""
    read = [facts.absent or {} for num, facts in shards if num or facts.absent is not None]
    if not read:
        return []
    total, first = sum(said.get("records", 0) for said in read), read[0]
    everywhere = [
        name for name in first.get("columns", ()) if all(name in said.get("columns", ()) for said in read)
    ]
    there = spell_columns(first.get("there", ()))
    return [f"`{source}`: none of {total:,} records has `{name}`; there are {there}" for name in everywhere]


def _in_headers(name: str, record: Record) -> bool:
    kind, _, key = name.partition(".")
    if name == "http.status":
        return record.status is not None
    return key in {"warc": record.warc_headers, "http": record.http_headers}.get(kind, {})


def _headers(record: Record) -> tuple[str, ...]:
    return (
        *(f"http.{name}" for name in record.http_headers),
        *(f"warc.{name}" for name in record.warc_headers),
    )
