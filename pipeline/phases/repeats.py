"""Records that were seen before, and rows that only look so.

A record with a key of its own (a WARC-Record-ID, an id with its text) that comes again is the same record:
of all with one id, the first in the order of files and offsets stays. Rows without such a key may well have
equal texts: they all stay, the second, third, ... under ids of their own, and `dedup` is who decides. An id
that several texts share is counted and named.

Ids are hashes, so a range of them is an even share of all: each task compares one range over the sorted
sidecars of all shards, and memory is that share however many shards there are. What repeats lies in files;
the driver hears which shards they name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.arrays import read_array, write_array
from gristmill.document import removed_rows
from gristmill.facts import Counts, Facts, StepFacts
from gristmill.files.storage import read_tables
from gristmill.hashing import digest16
from gristmill.index import PAIR, read_range
from gristmill.ledger import Books
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.stages.extract import ExtractSlice

REPEATED = "input.repeated_record"
UNKEYED = (
    "unkeyed"  # files of row numbers whose ids are of their texts, in shards that have rows of both kinds
)
_IDS_PER_TASK = 1 << 23  # about 600 MB while they are sorted
_ROW = np.dtype([("shard", "<u4"), ("row", "<u4"), ("ordinal", "<u4")])


@dataclass(frozen=True, slots=True)
class ShardRead(Facts):
    """Where a shard's ranges of split files ended; whether its ids are of keys of their own (own, none or
    mixed), and whether its rows must be compared among themselves."""

    ends: list[dict[str, Any]] = field(default_factory=list)
    keys: str = "own"
    compare_rows: bool = False


@dataclass(frozen=True, slots=True)
class Repeats(Facts):
    """The shards that repeats of one range of ids lie in, as bits of a hexadecimal number; whether texts
    share an id of their source's."""

    shards: str
    shared: bool


@dataclass(frozen=True, slots=True)
class SharedIds(Counts):
    """Ids of a source's own that several texts have, and those texts."""

    ids: int = 0
    texts: int = 0


@dataclass(frozen=True, slots=True)
class SharedExample(Facts):
    """Shard and row of the first two texts that share an id."""

    example: list[list[int]] | None = None


def keep_first(
    job: Job[ExtractSlice], records: Sequence[TaskRecord], anew: Callable[[TaskRecord, int], Task]
) -> Stage:
    """Let every repeated record of a step's shards go; the extra facts name the files that were written
    anew, and what is worth a person's notice.

    `anew` makes the task that reads a shard again, by its record and number, where its documents were handed
    on.
    """
    records = [record for record in records if not record.is_lost]
    sidecars = {kind: _paths(job, records, kind) for kind in ("documents-index", "documents-keys")}
    num_rows = sum(entry.rows for record in records for entry in record.named("documents-index"))
    parts = max(1, -(-num_rows // _IDS_PER_TASK))
    tasks = [Task(f"{part:05d}", find_repeats, {"part": part}) for part in range(parts)]
    common = {"sidecars": sidecars["documents-index"], "keys": sidecars["documents-keys"], "parts": parts}
    found = yield Phase("repeats", tasks, common)
    listed = [entry for record in found for entry in record.named("repeats")]
    repeats = [str(job.folder / entry.path) for entry in listed]
    compared = [record.stated(Repeats) for record in found]
    named = [int(one.shards, 16) for one in compared]
    losers = [shard for shard in range(len(records)) if any(shards >> shard & 1 for shards in named)]
    notes = []
    if any(one.shared for one in compared):
        common = {"keys": sidecars["documents-keys"], "repeats": repeats, "parts": parts}
        counted = yield Phase(
            "shared", [Task(task.key, count_shared, task.arguments) for task in tasks], common
        )
        notes += _shared_ids(job, records, counted)
    if losers:
        handed = [shard for shard in losers if not records[shard].named("documents")]
        again = [
            anew(records[shard], shard)
            if shard in handed
            else Task(records[shard].task, let_repeats_go, {"shard": shard, **_of_shard(job, records[shard])})
            for shard in losers
        ]
        if handed:
            notes.append(
                f"`{job.settings.source}`: {len(handed):,} of {len(records):,} shards hold repeated records"
                " and were read twice, since their documents had been handed on"
            )
        yield Phase("once", again, {"repeats": repeats})
    rewritten = [
        entry for shard in losers for entry in records[shard].files if entry.kind.startswith("documents")
    ]
    flags = [entry for record in records for entry in record.named(UNKEYED)]
    gone = [entry.path for entry in [*rewritten, *listed, *flags]]
    return StepFacts(replaced_files=gone, notes=notes or None)


def _paths(job: Job[ExtractSlice], records: Sequence[TaskRecord], kind: str) -> list[str]:
    return [str(job.folder / entry.path) for record in records for entry in record.named(kind)]


def _of_shard(job: Job[ExtractSlice], record: TaskRecord) -> dict[str, Any]:
    """The files that a shard is written anew from."""
    documents, keys = (job.folder / record.named(kind)[0].path for kind in ("documents", "documents-keys"))
    flags = [str(job.folder / entry.path) for entry in record.named(UNKEYED)]
    return {
        "path": str(documents),
        "keys": str(keys),
        "unkeyed": flags[0] if flags else record.stated(ShardRead).keys == "none",
    }


def find_repeats(
    task: Attempt[ExtractSlice], sidecars: Sequence[str], keys: Sequence[str], part: int, parts: int
) -> None:
    """List (shard, row, ordinal) of every row in this range of ids that is not the first with its id."""
    found = _groups(sidecars, part, parts)
    rows = found[found["ordinal"] > 0]
    rows.sort(order=("shard", "row"))
    shards = f"{sum(1 << int(shard) for shard in np.unique(rows['shard'])):x}"
    task.record.state(Repeats(shards, bool((_groups(keys, part, parts)["ordinal"] > 0).any())))
    if len(rows):
        path = task.scratch / "repeats.bin"
        write_array(path, rows)
        task.publish(path, "repeats", len(rows))


def _groups(sidecars: Sequence[str], part: int, parts: int) -> npt.NDArray[np.void]:
    """Rows of all shards in one range of keys, sorted by key, then place; `ordinal` counts within a key."""
    first, end = (number * (1 << 64) // parts for number in (part, part + 1))
    ranges = [read_range(Path(path), first, end) for path in sidecars]
    shards = np.repeat(np.arange(len(ranges), dtype="<u4"), [len(one) for one in ranges])
    entries = np.concatenate(ranges) if ranges else np.empty(0, PAIR)
    order = np.lexsort((entries["row"], shards, entries["low"], entries["high"]))
    high, low = entries["high"][order], entries["low"][order]
    begins = np.ones(len(order), bool)
    begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    places = np.arange(len(order))
    rows = np.empty(len(order), _ROW)
    rows["shard"], rows["row"] = shards[order], entries["row"][order]
    rows["ordinal"] = places - np.maximum.accumulate(np.where(begins, places, 0))
    return rows


def count_shared(
    task: Attempt[ExtractSlice], keys: Sequence[str], repeats: Sequence[str], part: int, parts: int
) -> None:
    """Count the sources' own ids that several different texts have, and name the first two rows of one."""
    rows = _groups(keys, part, parts)
    gone = np.concatenate([np.empty(0, _ROW), *(read_array(path, _ROW) for path in repeats)])
    places = [table["shard"].astype(np.uint64) << np.uint64(32) | table["row"] for table in (rows, gone)]
    begins = np.cumsum(rows["ordinal"] == 0)
    stays = ~np.isin(*places)
    rows, begins = rows[stays], begins[stays]
    _, starts, sizes = np.unique(begins, return_index=True, return_counts=True)
    shared = sizes > 1
    task.record.state(SharedIds(int(shared.sum()), int(sizes[shared].sum())))
    if shared.any():
        pairs = [rows[at : at + 2] for at in starts[shared].tolist()]
        least = min(pairs, key=lambda pair: (int(pair["shard"][0]), int(pair["row"][0])))
        task.record.state(SharedExample([[int(row["shard"]), int(row["row"])] for row in least]))


def _shared_ids(
    job: Job[ExtractSlice], records: Sequence[TaskRecord], counted: Sequence[TaskRecord]
) -> list[str]:
    shared = SharedIds.total(counted)
    if not shared.ids:
        return []
    examples = [record.stated(SharedExample).example for record in counted]
    places = []
    for shard, row in min(example for example in examples if example):
        kept = records[shard].named("documents")
        if kept:
            origin = _row_of(job.folder / kept[0].path, row)
        places.append(f"{origin['file']}@{origin['offset']}" if kept else f"row {row} of shard {shard}")
    return [
        f"`{job.settings.source}`: {shared.ids:,} ids are shared by {shared.texts:,} different texts, all"
        f" kept; for instance that of {' and '.join(places)}"
    ]


def _row_of(path: Path, row: int) -> dict[str, Any]:
    for table in read_tables(path, ["origin"]):
        if row < table.num_rows:
            origin: dict[str, Any] = table.column("origin")[row].as_py()
            return origin
        row -= table.num_rows
    raise IndexError(row)


def rows_of(repeats: Sequence[str], shard: int) -> npt.NDArray[np.void]:
    """Return the rows of one shard in every list of repeats."""
    lists = [read_array(path, _ROW) for path in repeats]
    return np.concatenate(
        [rows[slice(*np.searchsorted(rows["shard"], [shard, shard + 1]))] for rows in lists]
    )


def let_repeats_go(
    task: Attempt[ExtractSlice],
    path: str,
    keys: str,
    unkeyed: str | bool,
    shard: int,
    repeats: Sequence[str],
) -> None:
    """Write a shard's documents again: records that repeat move from kept to removed in the books, rows whose
    ids were those of their texts get ids of their own."""
    repeated = rows_of(repeats, shard)
    by_text = repeated["row"] if unkeyed is True else np.empty(0, "<u4")
    if isinstance(unkeyed, str):
        by_text = np.intersect1d(repeated["row"], read_array(unkeyed, "<u4"))
    gone = np.setdiff1d(repeated["row"], by_text)
    ordinals = {int(one["row"]): int(one["ordinal"]) for one in repeated[np.isin(repeated["row"], by_text)]}
    books = Books()
    books.items_out.update(kept=-len(gone), removed=len(gone))
    books.by_rule_first[REPEATED] = books.by_rule_any[REPEATED] = len(gone)
    outcomes = Outcomes(task, task.settings.source, extra_fields(Path(path)), by_url=True, books=books)
    row = 0
    all_keys = _own_keys(Path(keys), Path(path))
    for table in read_tables(Path(path)):
        places = np.arange(row, row + table.num_rows)
        own_keys = all_keys.slice(row, table.num_rows)
        row += table.num_rows
        leaves = pa.array(np.isin(places, gone))
        stays = pa.array(~np.isin(places, gone))
        table = _numbered(table, places, ordinals)
        lost = table.filter(leaves)
        rules = pa.array([REPEATED] * lost.num_rows, pa.string())
        own = (own_keys.filter(stays), own_keys.filter(leaves))
        outcomes.write(table.filter(stays), removed_rows(lost, rules), own_keys=own)
    outcomes.publish()


def _numbered(table: pa.Table, places: npt.NDArray[np.int64], ordinals: dict[int, int]) -> pa.Table:
    """Give the second, third, ... of equal rows ids of their own: a hash of the id and how many came
    before."""
    if not any(int(place) in ordinals for place in places):
        return table
    ids = [
        digest16(id_, str(ordinals[int(place)])) if int(place) in ordinals else id_
        for place, id_ in zip(places, table.column("id").to_pylist(), strict=True)
    ]
    at = table.schema.get_field_index("id")
    return table.set_column(at, table.schema.field(at), pa.array(ids, pa.binary(16)))


def _own_keys(sidecar: Path, documents: Path) -> pa.Array:
    """Return the key of each row's own id, in the order of rows; null where it has none."""
    import pyarrow.parquet as pq

    pairs = read_array(sidecar, PAIR)
    num_rows = pq.ParquetFile(documents).metadata.num_rows
    values: list[bytes | None] = [None] * num_rows
    raw = pairs.tobytes()
    for at, row in enumerate(pairs["row"].tolist()):
        values[row] = raw[at * PAIR.itemsize : at * PAIR.itemsize + 16]
    return pa.array(values, pa.binary(16))
