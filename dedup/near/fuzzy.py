"""Near duplicates over any number of shards: MinHash LSH, clusters, verification.

How a stage calls this. Rows are dense numbers in the order of the input manifest; every call below is one
task, and the tasks of one loop may run in any order:

    for shard in shards:                                                                     # 1. signatures
        map_signatures(settings, shard.path, shard.first_row, scratch / f"{shard.name}.bands")
    parts = num_parts(total_documents * settings.bands, settings.part_records)
    for part in range(parts):                                                                # 2. cluster
        cluster_bands(bands, *key_range(part, parts), scratch / f"0-{part}.forest")
    for level, groups in enumerate(merge_tree(parts), start=1):  # 3. merge, level by level
        for number, group in enumerate(groups):
            merge_forests([scratch / f"{level - 1}-{leaf}.forest" for leaf in group], scratch /
            f"{level}-{number}.forest")
    counts = write_components(last_forest, scratch / "components", settings.group_documents)  # 4. components
    for shard in shards:                                                                     # 5. gather
        gather_members(settings, shard.path, shard.first_row, scratch / "components", scratch /
        f"{shard.name}.members")
    for group in range(counts["groups"]):                                                    # 6. verify
        verify_group(settings, members, scratch / "components", group, scratch / f"{group}.decisions", scratch
        / f"{group}.parquet")
    for shard in shards:                                                                     # 7. apply
        for applied in apply_fuzzy(settings, shard.path, shard.first_row, decisions):
            applied.kept, applied.removed, applied.decisions                                 # Arrow tables
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.dedup.decisions import (
    Applied,
    apply_decisions,
    cluster_records,
    largest_clusters,
    write_decisions,
)
from gristmill.dedup.near.blocks import Sets, verify_in_blocks
from gristmill.dedup.near.cluster import component_of, group_range
from gristmill.dedup.near.minhash import band_keys, signatures
from gristmill.dedup.near.nearest import write_nearest
from gristmill.dedup.near.shingles import shingle_texts
from gristmill.dedup.near.verify import SIMILARITY_BINS, Verified
from gristmill.dedup.order import Numbers, columns_needed, join_ids, member_columns, scope_hashes
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import argsort, group_starts, sort_pairs
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, read_range, write_run
from gristmill.dedup.sorted.shards import num_rows, read_batches
from gristmill.files.storage import ParquetWriter

# Every accepted pair, and of each document the nearest that were not: what the signatures estimated, what the
# texts gave (null: the estimate was too low to look), the outcome.
PAIRS = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("kept_id", pa.binary(16), nullable=False),
        pa.field("estimate", pa.float64(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("accepted", pa.bool_(), nullable=False),
    ]
)
NO_PAIRS = np.zeros((3, SIMILARITY_BINS), np.int64)
MEMBER = ("row", "rank", "id_high", "id_low", "source", "snapshot", "scope", "num_shingles")


def map_signatures(settings: FuzzySettings, path: Path, first_row: int, out: Path) -> dict[str, int]:
    """Write a shard's band keys as a sorted run of (key, row - first_row); texts without words have none."""
    keys: list[Numbers] = []
    rows: list[Numbers] = []
    row = 0
    for table in read_batches(path, ["source", "text", settings.scope]):
        shingles, bounds = shingle_texts(settings, table["text"])
        found = np.flatnonzero(np.diff(bounds))
        batch_keys = band_keys(
            settings, signatures(settings, shingles, bounds), scope_hashes(settings.scope, table)
        )
        keys.append(batch_keys[found].ravel())
        rows.append(np.repeat((row + found).astype(np.uint64), settings.bands))
        row += len(table)
    key, local = sort_pairs(concat(keys), concat(rows))
    write_run(
        out, {"key": key, "row": local.astype(np.uint32), "first_row": np.array([first_row], np.uint64)}
    )
    return {"documents": row, "band_keys": len(key)}


def gather_members(
    settings: FuzzySettings, path: Path, first_row: int, components: Sequence[Path], out: Path
) -> dict[str, int]:
    """Write what verification needs of a shard's documents that lie in a component, sorted by component.

    The run holds a record per document and, packed behind, its sorted distinct shingles; signature and band
    keys follow from those and are computed where they are compared.
    """
    members, root = component_of(components, first_row, num_rows(path))
    columns, sets = describe(settings, path, first_row, members)
    write_members(out, root, columns, sets)
    return {"members": len(root), "shingles": int(columns["num_shingles"].sum())}


def describe(
    settings: FuzzySettings, path: Path, first_row: int, members: npt.NDArray[np.int64]
) -> tuple[Columns, list[Numbers]]:
    """Return the records and the sorted distinct shingles of a shard's documents at the places `members`."""
    parts: list[Columns] = []
    sets: list[Numbers] = []
    start = 0
    for table in read_batches(path, columns_needed(settings)):
        low, high = np.searchsorted(members, [start, start + len(table)])
        chosen = table.take(pa.array(members[low:high] - start))
        shingles, bounds = shingle_texts(settings, chosen["text"])
        distinct = _distinct(shingles, bounds)
        sets += distinct
        row = (members[low:high] + first_row).astype(np.uint64)
        num_shingles = np.array([len(values) for values in distinct], np.uint64)
        parts.append({**member_columns(settings, chosen), "row": row, "num_shingles": num_shingles})
        start += len(table)
    return {name: concat([part[name] for part in parts]) for name in MEMBER}, sets


def _distinct(shingles: Numbers, bounds: npt.NDArray[np.int64]) -> list[Numbers]:
    """Return the sorted distinct shingles of each text."""
    ordered = shingles.copy()
    edges = bounds.tolist()
    for low, high in pairwise(edges):
        ordered[low:high].sort()
    new = np.ones(len(ordered), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    new[bounds[:-1][bounds[:-1] < len(new)]] = True
    ends = np.concatenate([[0], np.cumsum(new)])[bounds]
    found = ordered[new]
    return [found[low:high] for low, high in pairwise(ends.tolist())]


def write_members(out: Path, root: Numbers, columns: Columns, sets: Sequence[Numbers]) -> None:
    """Write members' records and, packed behind them, their shingle sets as a run sorted by root."""
    order = argsort(root)
    ordered = {name: columns[name][order] for name in MEMBER}
    ends = np.cumsum(ordered["num_shingles"]).astype(np.uint64)
    write_run(
        out,
        {
            "root": root[order],
            **ordered,
            "end": ends,
            "shingles": concat([sets[place] for place in order.tolist()]),
        },
    )


def verify_group(
    settings: FuzzySettings,
    members: Sequence[Path],
    components: Path,
    group: int,
    out: Path,
    pairs_out: Path,
    old_row: int | None = None,
    nearest_out: Path | None = None,
) -> dict[str, Any]:
    """Decide one group of components: write a run of decisions and a Parquet file of compared pairs; name the
    largest clusters, and the documents kept although a bound ended their comparisons.

    Rows from `old_row` on are of earlier indexes: kept whatever the survivor order says.
    """
    low, high = group_range(components, group)
    runs = [SortedRun(path) for path in members]
    columns = read_range(runs, low, high, ("root", *MEMBER))
    new = columns["row"] < np.uint64(old_row) if old_row is not None else np.ones(len(columns["row"]), bool)
    order = np.lexsort(
        [*(columns[name] for name in ("row", "id_low", "id_high", "rank")), new, columns["root"]]
    )
    sets = Sets.spanning(runs, low, high).take(order)
    columns = {name: column[order] for name, column in columns.items()}
    if settings.verify == "none":
        size = np.diff(group_starts(columns["root"]))
        keeper = np.repeat(np.cumsum(size) - size, size)
        verified = Verified(keeper, np.empty(0), np.empty((0, 4)), NO_PAIRS, np.zeros(len(order), bool))
    else:
        verified = verify_in_blocks(settings, sets, columns, ~new[order])
    records = _records(columns, verified)
    write_decisions(out, records)
    if nearest_out and old_row is not None:
        write_nearest([(verified, columns)], old_row, nearest_out)
    counts = {**_counts(records), "members": len(order), "largest": largest_clusters(records)}
    return counts | write_compared(settings, pairs_out, [(verified, columns)], {0: verified.bounded})


def _records(columns: Columns, verified: Verified) -> Columns:
    """Describe the clusters of two or more: a kept document with all that were removed for it."""
    size = np.bincount(verified.keeper, minlength=len(verified.keeper))
    inside = np.flatnonzero(size[verified.keeper] > 1)
    _kept, cluster = np.unique(verified.keeper[inside], return_inverse=True)
    place = np.full(len(size), -1, np.int64)
    place[inside] = np.arange(len(inside))
    score = verified.score[inside] if len(verified.score) else None
    return cluster_records(
        {name: column[inside] for name, column in columns.items()},
        cluster,
        place[verified.keeper[inside]],
        score,
    )


def write_compared(
    settings: FuzzySettings,
    path: Path,
    found: Sequence[tuple[Verified, Columns]],
    bounded: Mapping[int, npt.NDArray[np.bool_]],
) -> dict[str, Any]:
    """Write the pairs listed; return how many were compared, their similarities, and the ids of members of
    `found` that are `bounded`."""
    with ParquetWriter(path, PAIRS) as writer:
        for verified, columns in found:
            member, kept = (verified.pairs[:, side].astype(np.int64) for side in (0, 1))
            ids = [join_ids(columns["id_high"][index], columns["id_low"][index]) for index in (member, kept)]
            estimate, score = verified.pairs[:, 2], verified.pairs[:, 3]
            scores = pa.array(score, mask=np.isnan(score))
            accepted = pa.array(score >= settings.threshold)
            writer.write(pa.table([*ids, pa.array(estimate), scores, accepted], schema=PAIRS))
    named: list[bytes] = []
    for number, mask in bounded.items():
        columns = found[number][1]
        named += join_ids(columns["id_high"][mask], columns["id_low"][mask]).to_pylist()
    counts = sum((verified.counts for verified, _columns in found), NO_PAIRS)
    return {
        "compared": int(counts.sum()),
        "listed": writer.num_rows,
        "similarity": counts.tolist(),
        "bounded": [value.hex() for value in named],
    }


def _counts(records: Columns) -> dict[str, int]:
    return {"clusters": int((records["removed"] == 0).sum()), "removed": int(records["removed"].sum())}


def apply_fuzzy(
    settings: FuzzySettings, path: Path, first_row: int, decisions: Sequence[Path]
) -> Iterator[Applied]:
    """Split a shard into kept and removed documents; `mark` mode removes none."""
    bound = None if settings.verify == "none" else settings.threshold
    batches = read_batches(path)
    yield from apply_decisions(
        decisions,
        first_row,
        num_rows(path),
        batches,
        rule="dedup.fuzzy",
        bound=bound,
        drop=settings.mode == "drop",
    )
