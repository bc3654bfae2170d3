"""Cutting byte ranges out of texts, with the report and the books that go with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from gristmill.dedup.decisions import Applied, text_bytes
from gristmill.document import REMOVAL_FIELDS, removed_schema

# What was cut out of each document; the edits are byte ranges of the text that came in.
CUTS = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("num_cut", pa.uint32(), nullable=False),
        pa.field("deleted_bytes", pa.int64(), nullable=False),
        pa.field("edits", pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())])), nullable=False),
    ]
)

Edits = list[tuple[int, int]]
Failure = tuple[str, float | None, float | None]  # rule, value, bound


def without(text: str | None, edits: Edits) -> str | None:
    """Return a text without the byte ranges, which are in order and do not overlap."""
    if not edits or text is None:
        return text
    data = text.encode()
    keep = [0, *(bound for edit in edits for bound in edit), len(data)]
    return b"".join(data[start:end] for start, end in zip(keep[::2], keep[1::2], strict=True)).decode()


def merge_edits(edits: Iterable[tuple[int, int]]) -> Edits:
    """Sort ranges and join those that touch."""
    merged: Edits = []
    for start, end in sorted(edits):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif end > start:
            merged.append((start, end))
    return merged


def cut_documents(
    table: pa.Table,
    edits: Sequence[Edits],
    num_cut: Sequence[int],
    left: Sequence[str | None],
    failures: Sequence[Failure | None],
) -> Applied:
    """Replace the texts by what is `left` of them; documents with a failure are removed with their whole
    text."""
    reports: list[dict[str, Any]] = []
    for value, ranges, count, failed in zip(table["id"].to_pylist(), edits, num_cut, failures, strict=True):
        deleted = 0 if failed else sum(end - start for start, end in ranges)
        decision = "removed" if failed else "edited" if ranges else "kept"
        spans = [{"start": start, "end": end} for start, end in ranges]
        reports.append(
            {"id": value, "decision": decision, "num_cut": count, "deleted_bytes": deleted, "edits": spans}
        )
    keep = pa.array([failed is None for failed in failures], pa.bool_())
    place = table.schema.get_field_index("text")
    field = table.schema.field("text")
    kept = table.set_column(place, field, pa.array(left, field.type)).filter(keep)
    return Applied(text_bytes(table), kept, _removed(table, failures), pa.Table.from_pylist(reports, CUTS))


def _removed(table: pa.Table, failures: Sequence[Failure | None]) -> pa.Table:
    documents = table.filter(pa.array([failed is not None for failed in failures], pa.bool_()))
    found = [failed for failed in failures if failed is not None]
    rules = [rule for rule, _value, _bound in found]
    columns = [
        rules,
        [value for _, value, _ in found],
        [bound for _, _, bound in found],
        [[rule] for rule in rules],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REMOVAL_FIELDS, strict=True)]
    return pa.table([*documents.columns, *arrays], schema=removed_schema(table.schema))
