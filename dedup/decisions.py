"""What deduplication decided: one record per document of a cluster, and the columns every document gets.

Reducers write runs of records by row; the apply tasks read the rows of their shard. A document that no run
names stands alone: its own cluster, its own survivor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.order import Numbers, join_ids, split_ids
from gristmill.dedup.sorted.radix import group_starts
from gristmill.dedup.sorted.runs import Columns, SortedRun, read_range, sort_columns, write_run
from gristmill.document import removed_schema
from gristmill.errors import BooksError

# cluster_id is the smallest id of the cluster; survivor_id is who stands for it (a survivor names itself).
# jaccard and verified are null unless a score was measured: verified says that the texts themselves were
# compared.
DECISIONS = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("cluster_id", pa.binary(16), nullable=False),
        pa.field("cluster_size", pa.uint32(), nullable=False),
        pa.field("num_sources", pa.uint32(), nullable=False),
        pa.field("num_snapshots", pa.uint32(), nullable=False),
        pa.field("survivor_id", pa.binary(16), nullable=False),
        pa.field("jaccard", pa.float64()),
        pa.field("verified", pa.bool_()),
    ]
)
_RUN_COLUMNS = (
    *("row", "cluster_high", "cluster_low", "survivor_high", "survivor_low"),
    *("cluster_size", "num_sources", "num_snapshots", "jaccard", "verified", "removed"),
)


def cluster_records(
    members: Columns,
    cluster: npt.NDArray[np.int64],
    survivor: npt.NDArray[np.int64],
    score: npt.NDArray[np.float64] | None,
) -> Columns:
    """Describe clusters of two or more: `cluster` numbers them densely, `survivor` is each member's index
    among the members.

    `members` holds row, id_high, id_low, source, snapshot. A member is kept when it is its own survivor; a
    cluster must have exactly one such member.
    """
    size = np.bincount(cluster)
    kept = survivor == np.arange(len(survivor))
    if not (np.bincount(cluster[kept], minlength=len(size)) == 1).all():
        raise BooksError(
            "deduplication left a cluster without exactly one survivor",
            hint="this is a defect of the program: report it",
        )
    first = _first_of_cluster(cluster, members["id_high"], members["id_low"])
    return {
        "row": members["row"],
        "cluster_high": members["id_high"][first][cluster],
        "cluster_low": members["id_low"][first][cluster],
        "survivor_high": members["id_high"][survivor],
        "survivor_low": members["id_low"][survivor],
        "cluster_size": size[cluster].astype(np.uint32),
        "num_sources": _count_distinct(cluster, members["source"])[cluster],
        "num_snapshots": _count_distinct(cluster, members["snapshot"])[cluster],
        "jaccard": np.full(len(cluster), np.nan) if score is None else score,
        "verified": np.full(len(cluster), score is not None, np.uint8),
        "removed": (~kept).astype(np.uint8),
    }


def largest_clusters(records: Columns, most: int = 3) -> list[list[Any]]:
    """Name the largest clusters as [survivor's id, size], for the alarm."""
    kept = np.flatnonzero(records["removed"] == 0)
    order = np.lexsort(
        (
            records["cluster_low"][kept],
            records["cluster_high"][kept],
            -records["cluster_size"][kept].astype(np.int64),
        )
    )
    top = kept[order[:most]]
    ids = join_ids(records["survivor_high"][top], records["survivor_low"][top])
    return [
        [value.hex(), int(size)]
        for value, size in zip(ids.to_pylist(), records["cluster_size"][top], strict=True)
    ]


def write_decisions(path: Path, records: Columns) -> None:
    """Write records of clusters as a run sorted by row."""
    write_run(path, sort_columns({name: records[name] for name in _RUN_COLUMNS}))


@dataclass(frozen=True)
class Applied:
    """A batch of documents after deduplication: kept + removed is what came in; decisions has a row for every
    one."""

    bytes_in: int  # of text
    kept: pa.Table
    removed: pa.Table
    decisions: pa.Table


def apply_decisions(
    paths: Sequence[Path],
    first_row: int,
    num_rows: int,
    batches: Iterable[pa.Table],
    *,
    rule: str,
    bound: float | None,
    drop: bool,
) -> Iterator[Applied]:
    """Split a shard's documents by what the reducers' runs at `paths` say of rows first_row .. first_row +
    num_rows - 1.

    Removed documents carry the rule, their score as value, and the bound; with `drop` off nothing is removed.
    """
    records = sort_columns(
        read_range([SortedRun(path) for path in paths], first_row, first_row + num_rows, _RUN_COLUMNS)
    )
    if bool((records["row"][1:] == records["row"][:-1]).any()):
        raise BooksError(
            "two deduplication tasks decided on one document",
            hint="this is a defect of the program: report it",
        )
    row, seen = first_row, 0
    for batch in batches:
        decisions, removed = _decide(records, row, batch["id"])
        row, seen = row + len(batch), seen + len(batch)
        mask = pa.array(removed if drop else np.zeros(len(batch), bool))
        yield Applied(
            text_bytes(batch),
            batch.filter(pc.invert(mask)),
            _removed(batch.filter(mask), decisions.filter(mask), rule, bound),
            decisions,
        )
    if seen != num_rows:
        raise BooksError(f"a shard of {num_rows} documents held {seen} when deduplication was applied")


def text_bytes(documents: pa.Table) -> int:
    """Return the UTF-8 bytes of the text column; null counts as nothing."""
    return int(pc.sum(pc.binary_length(documents["text"])).as_py() or 0)


def _decide(records: Columns, first_row: int, ids: pa.ChunkedArray) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    low, high = np.searchsorted(records["row"], np.array([first_row, first_row + len(ids)], np.uint64))
    found = {name: column[low:high] for name, column in records.items()}
    place = (found["row"] - np.uint64(first_row)).astype(np.int64)
    id_high, id_low = split_ids(ids)

    def spread(name: str, default: npt.NDArray) -> npt.NDArray:
        column = default.copy()
        column[place] = found[name]
        return column

    ones = np.ones(len(ids), np.uint32)
    survivor_high, survivor_low = spread("survivor_high", id_high), spread("survivor_low", id_low)
    removed = spread("removed", np.zeros(len(ids), np.uint8)).astype(bool)
    jaccard = spread("jaccard", np.full(len(ids), np.nan))
    table = pa.table(
        [
            ids.cast(pa.binary(16)),
            join_ids(spread("cluster_high", id_high), spread("cluster_low", id_low)),
            spread("cluster_size", ones),
            spread("num_sources", ones),
            spread("num_snapshots", ones),
            join_ids(survivor_high, survivor_low),
            pa.array(jaccard, mask=np.isnan(jaccard) | ~removed),
            pa.array(spread("verified", np.zeros(len(ids), np.uint8)).astype(bool), mask=~removed),
        ],
        schema=DECISIONS,
    )
    return table, removed


def _removed(documents: pa.Table, decisions: pa.Table, rule: str, bound: float | None) -> pa.Table:
    count = len(documents)
    columns = [
        pa.array([rule] * count, pa.string()),
        decisions["jaccard"],
        pa.array([bound] * count, pa.float64()),
        pa.array([[rule]] * count, pa.list_(pa.string())),
    ]
    return pa.table([*documents.columns, *columns], schema=removed_schema(documents.schema))


def _first_of_cluster(cluster: npt.NDArray[np.int64], high: Numbers, low: Numbers) -> npt.NDArray[np.int64]:
    """Return the index of the smallest id of each cluster."""
    order = np.lexsort((low, high, cluster))
    return order[group_starts(cluster[order])[:-1]]


def _count_distinct(cluster: npt.NDArray[np.int64], values: Numbers) -> npt.NDArray[np.uint32]:
    order = np.lexsort((values, cluster))
    cluster, values = cluster[order], values[order]
    new = np.ones(len(cluster), bool)
    new[1:] = (cluster[1:] != cluster[:-1]) | (values[1:] != values[:-1])
    return np.bincount(cluster[new]).astype(np.uint32)
