"""The one writer of outcomes: what became of a task's documents, as files with sidecars, books and tallies.

    outcomes = Outcomes(task, source, extra_fields)
    outcomes.take(read, kept, removed)      # read: what came in, as documents and bytes of text
    outcomes.note("decisions", table)       # a row for every document, beside them
    outcomes.publish()

Kept, removed and failed rows go into files of their own, each with an index sidecar; the books count every
document and byte on its way in and out; removals are booked by the rules that the removed rows carry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill import index
from gristmill.document import FAILED, document_schema, removed_schema, text_bytes
from gristmill.files.storage import ROW_GROUP_ROWS, ParquetWriter
from gristmill.hashing import uniform
from gristmill.ledger import Books
from gristmill.pipeline.run.job import Attempt, RowsTaker
from gristmill.pipeline.run.records.tallies import Observer

SAMPLED_FRACTION = 0.01
_SIDE_ROWS = 8192  # of a group of a side's: its rows are a tenth of a document's, and of dozens of columns


class Outcomes:
    """Write what becomes of the documents of one task; at `publish` the files that have rows are handed over.

    The kept file is published even when empty, so that a step's shards and its inputs' shards correspond.
    Where the task hands its documents on, the next step takes them instead: only their index is published.
    `sides` are tables beside the documents that are published even when empty; others begin with their first
    `note`. `books` are those of a task that counts by itself. `kinds` leaves out what a task never writes:
    one whose kept documents are no text has failed ones only.
    """

    def __init__(
        self,
        task: Attempt[Any],
        source: str,
        extra: Sequence[pa.Field] = (),
        *,
        by_url: bool = False,
        sides: Mapping[str, pa.Schema] | None = None,
        books: Books | None = None,
        kinds: Sequence[str] = ("documents", "removed", "failed"),
    ) -> None:
        self.task, self.source, self.by_url = task, source, by_url
        self.keep_removed = getattr(task.settings, "keep_removed", "text")
        self.schema = document_schema(extra)
        schemas = {"documents": self.schema, "removed": removed_schema(self.schema), "failed": FAILED}
        schemas = {kind: schemas[kind] for kind in kinds}
        self._writers = {kind: self._writer(kind, schema) for kind, schema in schemas.items()}
        self._sides = {kind: self._open(kind, schema, _SIDE_ROWS) for kind, schema in (sides or {}).items()}
        self._keys: dict[str, list[pa.ChunkedArray]] = {kind: [] for kind in schemas}
        self._urls: dict[str, list[pa.ChunkedArray]] = {kind: [] for kind in schemas}
        self._own_keys: dict[str, list[pa.Array]] = {kind: [] for kind in schemas}
        self._observer = Observer(task.seed)
        self.books = books if books is not None else Books()
        self._seen = 0

    def take(
        self,
        read: tuple[int, int],
        kept: pa.Table,
        removed: pa.Table,
        *,
        deleted_bytes: int = 0,
        inserted_bytes: int = 0,
    ) -> None:
        """Write and book what became of documents that were read: their number and bytes of text.

        Edits deleted and inserted the bytes given.
        """
        books = self.books
        books.items_in += read[0]
        books.bytes_in += read[1]
        books.items_out.update(kept=kept.num_rows, removed=removed.num_rows)
        books.bytes_out.update(kept=text_bytes(kept), removed=text_bytes(removed), deleted=deleted_bytes)
        books.inserted_bytes += inserted_bytes
        books.by_rule_first.update(Counter(removed.column("rule").to_pylist()))
        books.by_rule_any.update(Counter(pc.list_flatten(removed.column("rules")).to_pylist()))
        self.write(kept, removed)

    def write(
        self,
        kept: pa.Table,
        removed: pa.Table,
        failed: pa.Table | None = None,
        *,
        own_keys: Sequence[pa.Array] = (),
    ) -> None:
        """Write rows that the task books by itself; `own_keys` files those of each table by the ids that
        their source gave them (`index.own_key`)."""
        of_kept, of_removed, of_failed = [*own_keys, None, None, None][:3]
        self._write("documents", kept, of_kept)
        self._observer.see("kept", kept)
        self._seen += kept.num_rows + removed.num_rows + (failed.num_rows if failed is not None else 0)
        self.task.tell(self._seen)
        self._observer.see("removed", removed)
        self._write("removed", self._trim(removed), of_removed)
        if failed is not None:
            self.fail(failed, of_failed)

    def fail(self, failed: pa.Table, own_keys: pa.Array | None = None) -> None:
        """Write rows that failed, which the task books by itself."""
        self._observer.see_failed(failed)
        self._write("failed", failed, own_keys)

    def note(self, kind: str, table: pa.Table) -> None:
        """Write rows of a table beside the documents, such as decisions or signals."""
        if kind not in self._sides:
            self._sides[kind] = self._open(kind, table.schema, _SIDE_ROWS)
        self._sides[kind].write(table)

    def publish(self) -> None:
        """Close the files, write their sidecars, and hand all over; books, samples and tallies go into the
        record."""
        for kind, side in self._sides.items():
            side.close()
            self.task.publish(side.path, kind, side.num_rows, source=self.source)
        for kind, writer in self._writers.items():
            writer.close()
            if not writer.num_rows and kind != "documents":
                continue
            if isinstance(writer, ParquetWriter):
                self.task.publish(writer.path, kind, writer.num_rows, source=self.source)
            self._publish_index(f"{kind}-index", self._keys[kind])
            if self.by_url:
                self._publish_index(f"{kind}-urls", self._urls[kind])
                self._publish_index(f"{kind}-keys", [pa.chunked_array(self._own_keys[kind], pa.binary(16))])
        self.task.record.books = self.books
        if "documents" in self._writers or self._writers["failed"].num_rows:
            self._observer.into(self.task.record)

    def _writer(self, kind: str, schema: pa.Schema) -> ParquetWriter | RowsTaker:
        if kind == "documents" and self.task.hands_on:
            return self.task.hands_on(schema)
        return self._open(kind, schema)

    def _open(self, kind: str, schema: pa.Schema, group_rows: int = ROW_GROUP_ROWS) -> ParquetWriter:
        return ParquetWriter(self.task.scratch / f"{kind}.parquet", schema, group_rows)

    def _write(self, kind: str, table: pa.Table, own_keys: pa.Array | None = None) -> None:
        if not table.num_rows:
            return
        self._writers[kind].write(table)
        self._keys[kind].append(table.column("id"))
        if self.by_url:
            self._urls[kind].append(pa.chunked_array([index.url_keys(table.column("url"))]))
            no_keys = pa.nulls(table.num_rows, pa.binary(16))
            self._own_keys[kind].append(no_keys if own_keys is None else own_keys)

    def _publish_index(self, kind: str, keys: list[pa.ChunkedArray]) -> None:
        chunks = [chunk for part in keys for chunk in part.chunks]
        path = self.task.scratch / f"{kind}.idx"
        num_rows = index.write_index(path, pa.chunked_array(chunks, pa.binary(16)))
        self.task.publish(path, kind, num_rows, source=self.source)

    def _trim(self, removed: pa.Table) -> pa.Table:
        """Drop the texts that `keep_removed` does not ask for."""
        if self.keep_removed == "text" or not removed.num_rows:
            return removed
        keep = pa.array([False] * removed.num_rows)
        if self.keep_removed == "sample":
            ids = removed.column("id").combine_chunks()
            keep = pa.array(uniform(self.task.seed, "keep_removed", ids) < SAMPLED_FRACTION)
        text = pc.if_else(keep, removed.column("text"), pa.scalar(None, pa.large_string()))
        return removed.set_column(removed.schema.get_field_index("text"), removed.schema.field("text"), text)
