"""What stages that keep or remove whole documents share: columns that documents carry on, and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import removed_rows, text_bytes
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.run.records.outcomes import Outcomes

_ROW = (
    pa.field("id", pa.binary(16), nullable=False),
    pa.field("row", pa.uint32()),
    pa.field("decision", pa.string()),
)


class Sieve:
    """Write the documents of one shard, kept or removed by at most one rule each.

    `came` are the columns that they came with beside the contract's (`extra_fields`), `carried` columns that
    they carry on, `dropped` those that they leave; `noted` are columns of the decisions, which have a row for
    every document.
    """

    def __init__(
        self,
        task: Attempt[Any],
        came: Sequence[pa.Field],
        source: str,
        *,
        carried: Sequence[pa.Field] = (),
        noted: Sequence[pa.Field] = (),
        dropped: Sequence[str] = (),
    ) -> None:
        self.carried, self.num_rows = carried, 0
        self._left = {*(field.name for field in carried), *dropped}
        names = self._left
        before = [field for field in came if field.name not in names]
        self._decisions = pa.schema([*_ROW, *noted]) if noted else None
        sides = {"decisions": self._decisions} if self._decisions else {}
        self.outcomes = Outcomes(task, source, [*before, *carried], sides=sides)

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
        names = [name for name in table.column_names if name not in self._left]
        table = table.select(names)
        for field in self.carried:
            table = table.append_column(field, columns[field.name])
        stays = pc.is_null(rules)
        goes = pc.invert(stays)
        why = [column.filter(goes) for column in (rules, values, bounds)]
        read = (table.num_rows, text_bytes(table))
        self.outcomes.take(read, table.filter(stays), removed_rows(table.filter(goes), *why))
        if self._decisions:
            self._note(table["id"], stays, columns)
        self.num_rows += table.num_rows

    def publish(self) -> None:
        self.outcomes.publish()

    def _note(self, ids: pa.ChunkedArray, stays: pa.Array, columns: Mapping[str, Any]) -> None:
        row = pa.array(range(self.num_rows, self.num_rows + len(ids)), pa.uint32())
        known = {"id": ids, "row": row, "decision": pc.if_else(stays, "kept", "removed"), **columns}
        schema = self._decisions
        assert schema is not None
        self.outcomes.note("decisions", pa.table([known[name] for name in schema.names], schema=schema))
