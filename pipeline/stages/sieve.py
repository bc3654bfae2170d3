"""What stages that keep or remove whole documents share: columns that documents carry on, decisions,
books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import removed_schema
from gristmill.ledger import Books
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.run.outcomes import DocumentOutputs, KeepRemoved
from gristmill.pipeline.stages.adopt import extra_fields, text_bytes
from gristmill.storage import ParquetWriter

_ROW = (
    pa.field("id", pa.binary(16), nullable=False),
    pa.field("row", pa.uint32()),
    pa.field("decision", pa.string()),
)


class Sieve:
    """Write the documents of one file, kept or removed by at most one rule each.

    `carried` are columns that documents carry on; `noted` are columns of the decisions, which have a row for
    every document.
    """

    def __init__(
        self,
        task: Attempt,
        path: Path,
        source: str,
        seed: int,
        keep_removed: KeepRemoved,
        *,
        carried: Sequence[pa.Field] = (),
        noted: Sequence[pa.Field] = (),
    ) -> None:
        self.task, self.source, self.carried = task, source, carried
        names = {field.name for field in carried}
        before = [field for field in extra_fields(path) if field.name not in names]
        self.outputs = DocumentOutputs(task, source, seed, [*before, *carried], keep_removed=keep_removed)
        self.books, self.num_rows = Books(), 0
        self._decisions = (
            ParquetWriter(task.scratch / "decisions.parquet", pa.schema([*_ROW, *noted])) if noted else None
        )

    def decide(
        self,
        table: pa.Table,
        rules: pa.Array,
        values: pa.Array,
        bounds: pa.Array,
        columns: Mapping[str, pa.Array] | None = None,
    ) -> None:
        """Remove the documents that have a rule, with what it measured and its bound; `columns` are those
        carried and noted."""
        columns = columns or {}
        names = [name for name in table.column_names if name not in {field.name for field in self.carried}]
        table = table.select(names)
        for field in self.carried:
            table = table.append_column(field, columns[field.name])
        stays = pc.is_null(rules)
        goes = pc.invert(stays)
        kept, gone = table.filter(stays), table.filter(goes)
        why = rules.filter(goes)
        self.outputs.keep(kept)
        self.outputs.remove(_removed(gone, why, values.filter(goes), bounds.filter(goes)))
        self._book(kept, gone, why)
        if self._decisions:
            self._note(table["id"], stays, columns)
        self.num_rows += table.num_rows

    def publish(self) -> None:
        self.task.record.books = self.books
        if self._decisions:
            self._decisions.close()
            self.task.publish(self._decisions.path, "decisions", self._decisions.num_rows, source=self.source)
        self.outputs.publish()

    def _book(self, kept: pa.Table, gone: pa.Table, why: pa.Array) -> None:
        sizes = {"kept": text_bytes(kept), "removed": text_bytes(gone)}
        self.books.items_in += kept.num_rows + gone.num_rows
        self.books.bytes_in += sum(sizes.values())
        self.books.items_out.update(kept=kept.num_rows, removed=gone.num_rows)
        self.books.bytes_out.update(sizes)
        counts = Counter(why.to_pylist())
        self.books.by_rule_first.update(counts)
        self.books.by_rule_any.update(counts)

    def _note(self, ids: pa.ChunkedArray, stays: pa.Array, columns: Mapping[str, Any]) -> None:
        assert self._decisions
        row = pa.array(range(self.num_rows, self.num_rows + len(ids)), pa.uint32())
        known = {"id": ids, "row": row, "decision": pc.if_else(stays, "kept", "removed"), **columns}
        schema = self._decisions.schema
        self._decisions.write(pa.table([known[name] for name in schema.names], schema=schema))


def _removed(table: pa.Table, rules: pa.Array, values: pa.Array, bounds: pa.Array) -> pa.Table:
    named = pa.ListArray.from_arrays(pa.array(range(len(rules) + 1), pa.int32()), rules)
    columns = [rules, values.cast(pa.float64()), bounds.cast(pa.float64()), named]
    return pa.table([*table.columns, *columns], schema=removed_schema(table.schema))
