"""Columns that a source's settings name and that none of its records has, or has a value in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gristmill.facts import Facts
from gristmill.pipeline.sources.record import Record
from gristmill.pipeline.sources.rows.row import spell_columns
from gristmill.pipeline.sources.rows.text_rows import TextRows

_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Absent(Facts):
    """`columns` that no record of a shard has, the first that are `there`, and the `records` seen; `null` are
    those that all have and none has a value in."""

    absent: dict[str, Any] | None = None
    null: dict[str, Any] | None = None


class AbsentColumns:
    """The columns that all records so far lack, and what the first of them has instead.

    Of web archives those that are in the headers are looked for; `page.` columns come of extraction.
    """

    def __init__(self, passthrough: Iterable[str]) -> None:
        self._archived = [name for name in passthrough if not name.startswith("page.")]
        self._absent: list[str] | None = None
        self._null = self._archived
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
        if self._null:  # of an archive's records columns are made later
            has = record.columns
            self._null = [name for name in self._null if has.get(name) is None] if has else []

    def see_rows(self, rows: TextRows) -> None:
        """Take note of rows by columns."""
        self._seen += len(rows)
        if self._absent is None:
            self._absent, self._there = list(rows.absent), rows.there
        elif self._absent:
            self._absent = [name for name in self._absent if name in rows.absent]
        if self._null:
            nulls = {name: column.null_count for name, column in rows.columns.items()}
            self._null = [name for name in self._null if nulls.get(name, 0) == len(rows)]

    def facts(self) -> Absent:
        """For the shard's record; none where nothing is absent or empty."""
        empty = [name for name in self._null if name not in (self._absent or ())] if self._seen else []
        null = {"columns": empty, "records": self._seen} if empty else None
        if not self._absent:
            return Absent(null=null)
        there = list(self._there[: _MOST_NAMED + 1])
        return Absent({"columns": self._absent, "there": there, "records": self._seen}, null)

    def _lacking(self, record: Record) -> list[str]:
        if record.columns or not (record.warc_headers or record.http_headers):
            return list(record.absent)
        return [name for name in self._archived if not _in_headers(name, record)]


def absent_notes(shards: Iterable[tuple[int, Absent]], source: str) -> list[str]:
    """Say which columns none of a source's records has, or has a value in; `shards` are the number of
    documents of each, and what is absent from it."""
    shards = list(shards)
    return [*_absent_notes(shards, source), *_null_notes(shards, source)]


def _null_notes(shards: Sequence[tuple[int, Absent]], source: str) -> Iterator[str]:
    read = [facts.null or facts.absent or {} for num, facts in shards if num or facts.null or facts.absent]
    total = sum(said.get("records", 0) for said in read)
    for name in dict.fromkeys(name for _, facts in shards for name in (facts.null or {}).get("columns", ())):
        if all(name in said.get("columns", ()) for said in read):
            yield f"`{source}`: `{name}` is null in all {total:,} records"


def _absent_notes(shards: Sequence[tuple[int, Absent]], source: str) -> list[str]:
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
