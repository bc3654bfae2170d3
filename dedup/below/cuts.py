"""Cutting byte ranges out of texts, with the report and the books that go with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
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

Int64s = npt.NDArray[np.int64]
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


class Cuts(NamedTuple):
    """What is cut out of n texts: of n + 1 texts the number of its first edit, where edits start and stop in
    bytes of their text, how many pieces they are, and what is left of each text."""

    rows: Int64s
    starts: Int64s
    stops: Int64s
    num_cut: Int64s
    left: pa.LargeStringArray


class Failures(NamedTuple):
    """Texts that are removed whole: their places, and of each the rule, its value and bound."""

    places: Int64s
    rules: list[str]
    values: list[float | None]
    bounds: list[float | None]


def cut_documents(
    table: pa.Table,
    edits: Sequence[Edits],
    num_cut: Sequence[int],
    left: Sequence[str | None],
    failures: Sequence[Failure | None],
) -> Applied:
    """Replace texts that have edits by what is `left` of them; documents with a failure are removed with
    their whole text."""
    places = np.array(
        [place for place, cut in enumerate(zip(edits, num_cut, failures, strict=True)) if any(cut)], np.int64
    )
    chosen = [edits[place] for place in places.tolist()]
    bounds = np.array([bound for ranges in chosen for bound in ranges], np.int64).reshape(-1, 2)
    cuts = Cuts(
        np.cumsum([0, *map(len, chosen)]),
        np.ascontiguousarray(bounds[:, 0]),
        np.ascontiguousarray(bounds[:, 1]),
        np.array([num_cut[place] for place in places.tolist()], np.int64),
        pa.array([left[place] for place in places.tolist()], pa.large_string()),
    )
    found = [(place, why) for place, why in enumerate(failures[place] for place in places.tolist()) if why]
    columns = ([why[at] for _, why in found] for at in range(3))
    failed = Failures(np.array([place for place, _ in found], np.int64), *columns)  # type: ignore[arg-type]
    return cut_columns(table, places, cuts, failed)


def cut_columns(table: pa.Table, places: Int64s, cuts: Cuts, failed: Failures) -> Applied:
    """Replace the texts at `places` that have edits by what is left of them; those that `failed`, by their
    number among the places, are removed with their whole text."""
    gone = places[failed.places]
    stays = np.ones(len(table), bool)
    stays[gone] = False
    edited = np.flatnonzero(np.diff(cuts.rows))
    kept = table
    if len(edited):
        which = np.arange(len(table))
        which[places[edited]] = len(table) + np.arange(len(edited))
        field = table.schema.field("text")
        before = [chunk.cast(field.type) for chunk in table["text"].chunks]
        fresh = cuts.left.take(pa.array(edited)).cast(field.type)
        text = pa.chunked_array([*before, fresh]).take(pa.array(which[stays]))
        kept = _filtered(table.drop_columns(["text"]), stays)
        kept = kept.add_column(table.schema.get_field_index("text"), field, text).select(table.schema.names)
        kept = kept.replace_schema_metadata(table.schema.metadata)
    else:
        kept = _filtered(table, stays)
    reports = _reports(table["id"], places, cuts, ~stays)
    return Applied(text_bytes(table), kept, _removed(table.take(pa.array(gone)), failed), reports)


def _filtered(table: pa.Table, stays: npt.NDArray[np.bool_]) -> pa.Table:
    return table if stays.all() else table.filter(pa.array(stays))


def _reports(ids: pa.ChunkedArray, places: Int64s, cuts: Cuts, is_gone: npt.NDArray[np.bool_]) -> pa.Table:
    """Return a row for every document: its decision, and the ranges that are cut where it stays."""
    num_edits, num_cut, deleted = (np.zeros(len(ids), np.int64) for _ in range(3))
    num_edits[places] = np.diff(cuts.rows)
    num_cut[places] = cuts.num_cut
    sizes = np.concatenate([[0], np.cumsum(cuts.stops - cuts.starts)])
    deleted[places] = sizes[cuts.rows[1:]] - sizes[cuts.rows[:-1]]
    deleted[is_gone] = 0
    kind = CUTS.field("edits").type
    spans = pa.StructArray.from_arrays(
        [pa.array(each) for each in (cuts.starts, cuts.stops)], fields=list(kind.value_type)
    )
    decided = np.where(is_gone, 2, (num_edits > 0).astype(np.int64))
    ends = np.concatenate([[0], np.cumsum(num_edits)])
    columns = [
        ids.combine_chunks(),
        pa.array(["kept", "edited", "removed"]).take(pa.array(decided)),
        pa.array(num_cut, pa.uint32()),
        pa.array(deleted),
        pa.ListArray.from_arrays(pa.array(ends, pa.int32()), spans, type=kind),
    ]
    return pa.Table.from_arrays(columns, schema=CUTS)


def _removed(documents: pa.Table, failed: Failures) -> pa.Table:
    columns = [failed.rules, failed.values, failed.bounds, [[rule] for rule in failed.rules]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REMOVAL_FIELDS, strict=True)]
    return pa.table([*documents.columns, *arrays], schema=removed_schema(documents.schema))
