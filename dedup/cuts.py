"""Cutting byte ranges out of texts, with the report and the books that go with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
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
    """Replace texts that have edits by what is `left` of them; documents with a failure are removed with
    their whole text."""
    changed = [place for place, ranges in enumerate(edits) if ranges]
    place = table.schema.get_field_index("text")
    field = table.schema.field("text")
    text = table["text"].combine_chunks()
    if changed:
        which = np.arange(len(table))
        which[changed] = len(table) + np.arange(len(changed))
        fresh = pa.array([left[number] for number in changed], field.type)
        text = pa.concat_arrays([text.cast(field.type), fresh]).take(pa.array(which))
    keep = pa.array([failed is None for failed in failures], pa.bool_())
    kept = table.set_column(place, field, text).filter(keep)
    return Applied(
        text_bytes(table), kept, _removed(table, failures), _reports(table["id"], edits, num_cut, failures)
    )


def _reports(
    ids: pa.ChunkedArray, edits: Sequence[Edits], num_cut: Sequence[int], failures: Sequence[Failure | None]
) -> pa.Table:
    """Return a row for every document: its decision, and the ranges that are cut where it stays."""
    pairs = list(zip(edits, failures, strict=True))
    counts = np.array([len(ranges) for ranges in edits], np.int64)
    ends = np.concatenate([[0], np.cumsum(counts)])
    places = np.array([bound for ranges in edits for bound in ranges], np.int64).reshape(-1, 2)
    sizes = np.concatenate([[0], np.cumsum(places[:, 1] - places[:, 0])])
    deleted = sizes[ends[1:]] - sizes[ends[:-1]]
    deleted[np.array([failed is not None for failed in failures], bool)] = 0
    kind = CUTS.field("edits").type
    spans = pa.StructArray.from_arrays(
        [pa.array(np.ascontiguousarray(places[:, at])) for at in (0, 1)], fields=list(kind.value_type)
    )
    columns = [
        ids.combine_chunks(),
        pa.array(["removed" if failed else "edited" if ranges else "kept" for ranges, failed in pairs]),
        pa.array(num_cut, pa.uint32()),
        pa.array(deleted),
        pa.ListArray.from_arrays(pa.array(ends, pa.int32()), spans, type=kind),
    ]
    return pa.Table.from_arrays(columns, schema=CUTS)


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
