"""Cells of a corpus, topic by quality bucket: the columns that name a document's cell, and sums over cells.

Sums are by topic, then by bucket, both as text, so that they travel in records as they are. A document
without a topic is in "", one without a bucket in "0".
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

TOPIC, BUCKET = "topic", "quality_bucket"
Cells = dict[str, dict[str, list[int]]]


def in_cells(names: Container[str]) -> bool:
    """Whether documents with these columns lie in cells."""
    return TOPIC in names or BUCKET in names


def topics_of(table: pa.Table) -> pa.Array:
    """The topic of each document, "" where it has none."""
    if TOPIC not in table.schema.names:
        return pa.array([""] * table.num_rows, pa.string())
    return pc.fill_null(table[TOPIC].cast(pa.string()), "").combine_chunks()


def buckets_of(table: pa.Table) -> pa.Array:
    """The bucket of each document, 0 where it has none."""
    if BUCKET not in table.schema.names:
        return pa.array([0] * table.num_rows, pa.int64())
    return pc.fill_null(table[BUCKET].cast(pa.int64()), 0).combine_chunks()


def sum_cells(table: pa.Table, **values: pa.Array) -> Cells:
    """Count the documents of each cell, and add up whole numbers over them: `[documents, *values]`."""
    columns = {TOPIC: topics_of(table), BUCKET: buckets_of(table), **values}
    grouped = pa.table(columns).group_by([TOPIC, BUCKET])
    sums = grouped.aggregate([(TOPIC, "count"), *((name, "sum") for name in values)])
    cells: Cells = {}
    for row in sums.to_pylist():
        counts = [row[f"{TOPIC}_count"], *(row[f"{name}_sum"] or 0 for name in values)]
        cells.setdefault(row[TOPIC], {})[str(row[BUCKET])] = counts
    return in_order(cells)


def add_cells(parts: Iterable[Mapping[str, Mapping[str, Sequence[int]]]]) -> Cells:
    """Add up the sums of many files."""
    total: Cells = {}
    for part in parts:
        for topic, buckets in part.items():
            for bucket, counts in buckets.items():
                before = total.setdefault(topic, {}).get(bucket, [0] * len(counts))
                total[topic][bucket] = [a + b for a, b in zip(before, counts, strict=True)]
    return in_order(total)


def in_order(cells: Cells) -> Cells:
    """Topics by name, and buckets from the lowest on."""
    return {
        topic: dict(sorted(buckets.items(), key=lambda item: int(item[0])))
        for topic, buckets in sorted(cells.items())
    }
