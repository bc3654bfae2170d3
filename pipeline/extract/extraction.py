"""Turn a shard of a source into documents: read, gate, extract, detect the language, keep the books.

How a stage calls this:

    extraction = Extraction(shard, "web", source_settings, extract_settings)
    for batch in extraction:                        # Arrow tables, in the order of the input
        write(batch.documents, batch.removed, batch.failed)
    extraction.books.balance("shard 7 of web")      # complete once the iteration is
    extraction.ends                                 # for check_ranges_meet, over all shards of the source
    extraction.counts                               # caps that were hit, and notes of what was left out

`documents` has `documents_schema(source_settings)`, `removed` the same with the rule (its text null: a gate
has none), `failed` gristmill.document.FAILED. Pages go through a killable process
(`gristmill.pipeline.extract.child`); texts do not need one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from gristmill.document import FAILED as FAILED_SCHEMA
from gristmill.document import document_schema, removed_schema, text_bytes
from gristmill.index import own_keys
from gristmill.ledger import Books
from gristmill.pipeline.extract.absent import AbsentColumns
from gristmill.pipeline.extract.by_columns import (
    KeysSeen,
    Leaving,
    broken_or_short,
    document_table,
    removed_table,
    row_keys,
)
from gristmill.pipeline.extract.child import Child, kept_child
from gristmill.pipeline.extract.frames import FAILED, LANGUAGE, REMOVED, Page
from gristmill.pipeline.extract.gates import Removal, make_gates, make_url_gate
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.extract.statements import COLUMNS, of_head, together
from gristmill.pipeline.extract.tables import Tables
from gristmill.pipeline.sources.broken import broken_fraction
from gristmill.pipeline.sources.read import read_items
from gristmill.pipeline.sources.record import Failure, InputShard, NotDocument, RangeEnd, Record, damage_of
from gristmill.pipeline.sources.rows.text_rows import TextRows
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.text.detection import Found
from gristmill.text.languages import language_code

_BATCH_PAGES = 64
_BATCH_BYTES = 4 << 20
REPEATED = "input.repeated_record"


def documents_schema(source: SourceSettings) -> pa.Schema:
    """Return the schema of a source's documents, pass-through columns included."""
    return document_schema(source.extra_fields())


@dataclass(frozen=True, slots=True)
class ExtractBatch:
    """What came of a few hundred records."""

    documents: pa.Table
    removed: pa.Table
    failed: pa.Table
    own_keys: tuple[pa.Array, ...]  # for each table: of its rows' own ids, null where they have none
    are_own: list[bool]  # of each document: whether its id is of a key of its own, not of its text


class Extraction:
    """Iterates over the batches of one shard; `books`, `ends` and `counts` are complete at its end."""

    def __init__(
        self,
        shard: InputShard,
        source_name: str,
        source: SourceSettings,
        settings: ExtractSettings,
        loader: str | None = None,
    ) -> None:
        self._shard, self._name, self._source, self._settings, self._loader = (
            shard,
            source_name,
            source,
            settings,
            loader,
        )
        self._gate, self._url_gate = make_gates(settings), make_url_gate(settings)
        self._statements = any(name in COLUMNS for name in source.passthrough)
        self._languages: Literal["detect", "column", "off"] = (
            "column" if source.columns.language else settings.language
        )
        self._seen = KeysSeen()  # of one source, equal keys are equal ids
        self.books = Books()
        self.ends: list[RangeEnd] = []
        self.counts: Counter[str] = Counter()
        self.absent = AbsentColumns(source.passthrough)

    @property
    def has_equal_rows(self) -> bool:
        """Whether there are rows without a key of their own, of one text and URL."""
        return self._seen.has_equal_rows

    def __iter__(self) -> Iterator[ExtractBatch]:
        schema = documents_schema(self._source)
        tables = Tables(schema, removed_schema(schema), FAILED_SCHEMA, self._name, self._source.passthrough)
        metadata = any(name.startswith("page.") and name not in COLUMNS for name in self._source.passthrough)
        with kept_child(self._settings, metadata, self._loader, self._statements) as child:
            for records in self._batches(tables):
                if isinstance(records, TextRows):
                    if not tables.is_empty:
                        yield ExtractBatch(*tables.flush())
                    yield self._by_columns(records, schema)
                    continue
                self._extract(records, child, tables)
                if tables.is_full:
                    yield ExtractBatch(*tables.flush())
            self.counts.update({f"note.{name}": num for name, num in sorted(tables.notes.items())})
            yield ExtractBatch(*tables.flush())

    def _batches(self, tables: Tables) -> Iterator[list[Record] | TextRows]:
        """Yield records that passed the gates, a batch at a time, and rows by columns; everything else goes
        to the books and tables at once."""
        batch: list[Record] = []
        num_bytes = 0
        for item in read_items(self._shard, self._source):
            match item:
                case TextRows():
                    if batch:
                        yield batch
                        batch, num_bytes = [], 0
                    yield item
                case Record():
                    self._enter(item.payload_bytes)
                    self.absent.see(item)
                    if self._passes(item, tables):
                        batch.append(item)
                        num_bytes += len(item.payload or b"")
                case NotDocument():
                    self._enter(item.payload_bytes)
                    self._leave(item.kind, item.payload_bytes)
                case Failure():
                    self._enter(item.payload_bytes)
                    self._fail_item(item, tables)
                case RangeEnd():
                    self.ends.append(item)
            if len(batch) >= _BATCH_PAGES or num_bytes >= _BATCH_BYTES or tables.is_full:
                yield batch
                batch, num_bytes = [], 0
        yield batch

    def _passes(self, record: Record, tables: Tables) -> bool:
        if self._seen.again(record.key, is_own=record.has_own_key):
            self._remove(record, Removal(REPEATED), tables)
            return False
        if record.notes:
            self.counts.update(f"note.{name}" for name in record.notes)
        if removal := self._gate(record):
            self._remove(record, removal, tables)
            return False
        if record.payload is not None and len(record.payload) > self._settings.max_page_bytes:
            message = f"{len(record.payload)} bytes, more than the {self._settings.max_page_bytes} allowed"
            self._fail(record, "too_large", message, tables)
            return False
        return True

    def _by_columns(self, rows: TextRows, schema: pa.Schema) -> ExtractBatch:
        """Turn plain rows into documents: what `_passes` and `_keep` do with records, in their order."""
        self._enter(int(rows.payload_bytes.sum()), len(rows))
        self.absent.see_rows(rows)
        own = rows.own_ids.is_valid()
        keys = row_keys(rows)
        leaving = {row: Leaving(row, REPEATED) for row in self._seen.again_among(keys, own)}
        if self._url_gate is not None:
            for row, url in enumerate(rows.urls.to_pylist()):
                if row not in leaving and (removal := self._url_gate(url)):
                    leaving[row] = Leaving(row, removal.rule, removal.value, removal.bound)
        for found in broken_or_short(
            rows.texts, self._settings.max_broken_fraction, self._settings.min_text_bytes
        ):
            leaving.setdefault(found.row, found)
        stays = np.ones(len(rows), bool)
        stays[list(leaving)] = False
        gone = [leaving[row] for row in sorted(leaving)]
        for each in gone:
            self.books.by_rule_first[each.rule] += 1
            self.books.by_rule_any[each.rule] += 1
        passed = self._source.passthrough
        documents = document_table(rows, keys, self._name, schema, stays, passed, self._languages)
        removed = removed_table(rows, keys, gone, self._name, removed_schema(schema), passed)
        kept_bytes = int(rows.payload_bytes[stays].sum())
        self._leave("kept", kept_bytes, documents.num_rows)
        if gone:
            self._leave("removed", int(rows.payload_bytes.sum()) - kept_bytes, len(gone))
        self.books.created_bytes += text_bytes(documents)
        own_ids = own_keys(rows.own_ids)
        kept, left = pa.array(stays), pa.array(~stays)
        keys_of_own = (own_ids.filter(kept), own_ids.filter(left), pa.nulls(0, pa.binary(16)))
        are_own = own.filter(kept).to_pylist()
        return ExtractBatch(documents, removed, FAILED_SCHEMA.empty_table(), keys_of_own, are_own)

    def _extract(self, records: list[Record], child: Child, tables: Tables) -> None:
        pages = [_page(record) for record in records if record.payload is not None]
        results = child.extract(pages)
        for record in records:
            if record.payload is None:
                self._keep(record, record.text or "", {}, tables)
                continue
            result = next(results)
            if result.kind == FAILED:
                self._fail(record, result.said["error"], result.said["message"], tables)
            elif result.kind == LANGUAGE:
                self._remove(record, Removal("extract.html_language", result.said["score"]), tables)
            elif result.kind == REMOVED:
                self._remove(record, Removal(result.said["rule"]), tables)
            else:
                if "damage" in result.said:
                    self.counts["note.damaged_content"] += 1
                if "charset_told" in result.said:
                    self.counts[f"charset.{result.said['charset']}"] += 1
                    self.counts["note.charset_detected"] += not result.said["charset_told"]
                self.counts.update(f"caps.{name}" for name in result.said.get("caps", ()))
                if "from" in result.said:
                    self.counts[f"text_from.{result.said['from']}"] += 1
                self._keep(record, result.text, result.said, tables)

    def _keep(self, record: Record, text: str, said: dict[str, Any], tables: Tables) -> None:
        data = text.encode()
        num_bytes, broken = len(data), broken_fraction(text, data)
        if broken > self._settings.max_broken_fraction:
            bound = self._settings.max_broken_fraction
            self._remove(record, Removal("extract.broken_text", broken, bound), tables)
            return
        if num_bytes < self._settings.min_text_bytes:
            self._remove(
                record, Removal("extract.min_text_bytes", num_bytes, self._settings.min_text_bytes), tables
            )
            return
        if record.notes:
            said = {**said, "damage": damage_of(record.notes, said.get("damage"))}
        if self._statements:
            said = {**said, **together(said, of_head(record.http_headers))}
        self._leave("kept", record.payload_bytes)
        self.books.created_bytes += num_bytes
        tables.keep(record, text, num_bytes, self._told(record, said), said)

    def _told(self, record: Record, said: dict[str, Any]) -> Found | None:
        """The language of a document and its score; None where its text is to be asked."""
        if self._languages == "column":
            language = language_code(record.language)
            return language, None if language is None else 1.0  # the source is taken at its word
        if self._languages == "off":
            return None, None
        return (said["language"], said["score"]) if "language" in said else None

    def _remove(self, record: Record, removal: Removal, tables: Tables) -> None:
        self._leave("removed", record.payload_bytes)
        self.books.by_rule_first[removal.rule] += 1
        self.books.by_rule_any[removal.rule] += 1
        tables.remove(record, removal)

    def _fail(self, record: Record, error: str, message: str, tables: Tables) -> None:
        self._fail_item(
            Failure(
                error,
                message,
                record.origin,
                record.payload_bytes,
                record.key,
                record.url,
                record.own_id,
            ),
            tables,
        )

    def _fail_item(self, failure: Failure, tables: Tables) -> None:
        self._leave("failed", failure.payload_bytes)
        self.books.by_error[failure.error] += 1
        tables.fail(failure)

    def _enter(self, num_bytes: int, num: int = 1) -> None:
        self.books.items_in += num
        self.books.bytes_in += num_bytes

    def _leave(self, outlet: str, num_bytes: int, num: int = 1) -> None:
        self.books.items_out[outlet] += num
        self.books.bytes_out[outlet] += num_bytes


def _page(record: Record) -> Page:
    return Page(
        record.url or "",
        record.content_type or "",
        record.charset or "",
        record.content_encoding,
        record.payload or b"",
    )
