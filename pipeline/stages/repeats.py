"""Records that were seen before: of all with one id, the first in the order of files and offsets stays.

Ids are hashes, so a range of them is an even share of all: each task compares one range over the sorted
sidecars of all shards, and memory is that share however many shards there are. What repeats lies in files;
the driver hears which shards they name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.document import REMOVAL_FIELDS
from gristmill.index import read_range
from gristmill.ledger import Books
from gristmill.manifest import Record
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.outcomes import DocumentOutputs
from gristmill.pipeline.stages.adopt import extra_fields
from gristmill.storage import read_tables

REPEATED = "input.repeated_record"
_IDS_PER_TASK = 1 << 23  # about 600 MB while they are sorted
_ROW = np.dtype([("shard", "<u4"), ("row", "<u4")])


def keep_first(job: Job, records: Sequence[Record], source: str, keep_removed: Any) -> Stage:
    """Let every repeated record of a step's shards go; the extra facts name the files that were written
    anew."""
    records = [record for record in records if not record.is_lost]
    sidecars = [entry for record in records for entry in record.named("documents-index")]
    parts = max(1, -(-sum(entry.rows for entry in sidecars) // _IDS_PER_TASK))
    paths = [str(job.folder / entry.path) for entry in sidecars]
    tasks = [Task(f"{part:05d}", find_repeats, {"part": part}) for part in range(parts)]
    found = yield Phase("repeats", tasks, {"sidecars": paths, "parts": parts})
    listed = [entry for record in found for entry in record.named("repeats")]
    named = [int(record.extra["shards"], 16) for record in found]
    losers = [shard for shard in range(len(records)) if any(shards >> shard & 1 for shards in named)]
    common = {
        "repeats": [str(job.folder / entry.path) for entry in listed],
        "source": source,
        "seed": job.seed,
        "keep_removed": keep_removed,
    }
    if losers:
        documents = {shard: str(job.folder / records[shard].named("documents")[0].path) for shard in losers}
        again = [
            Task(records[shard].task, let_repeats_go, {"path": path, "shard": shard})
            for shard, path in documents.items()
        ]
        yield Phase("once", again, common)
    rewritten = [
        entry for shard in losers for entry in records[shard].files if entry.kind.startswith("documents")
    ]
    return {"replaced_files": [entry.path for entry in [*rewritten, *listed]]}


def find_repeats(task: Attempt, sidecars: Sequence[str], part: int, parts: int) -> None:
    """List (shard, row) of every id in this range that an earlier shard holds; ids within one shard differ
    already."""
    first, end = (number * (1 << 64) // parts for number in (part, part + 1))
    ranges = [read_range(Path(path), first, end) for path in sidecars]
    shards = np.repeat(np.arange(len(ranges), dtype="<u4"), [len(one) for one in ranges])
    keys = np.concatenate(ranges)
    order = np.lexsort((shards, keys["low"], keys["high"]))
    high, low = keys["high"][order], keys["low"][order]
    later = order[1:][(high[1:] == high[:-1]) & (low[1:] == low[:-1])]
    rows = np.empty(len(later), _ROW)
    rows["shard"], rows["row"] = shards[later], keys["row"][later]
    rows.sort(order=("shard", "row"))
    task.record.extra["shards"] = f"{sum(1 << int(shard) for shard in np.unique(rows['shard'])):x}"
    if len(rows):
        path = task.scratch / "repeats.bin"
        rows.tofile(path)
        task.publish(path, "repeats", len(rows))


def rows_of(repeats: Sequence[str], shard: int) -> npt.NDArray[np.uint32]:
    """Return the rows of one shard in every list of repeats."""
    lists = [np.fromfile(path, _ROW) for path in repeats]
    return np.concatenate(
        [rows["row"][slice(*np.searchsorted(rows["shard"], [shard, shard + 1]))] for rows in lists]
    )


def let_repeats_go(
    task: Attempt, path: str, shard: int, repeats: Sequence[str], source: str, seed: int, keep_removed: Any
) -> None:
    """Write a shard's documents again without those that repeat; they move from kept to removed in the
    books."""
    outputs = DocumentOutputs(
        task, source, seed, extra_fields(Path(path)), keep_removed=keep_removed, by_url=True
    )
    gone = rows_of(repeats, shard)
    row = 0
    for table in read_tables(Path(path)):
        repeated = np.isin(np.arange(row, row + table.num_rows), gone)
        row += table.num_rows
        outputs.keep(table.filter(pa.array(~repeated)))
        outputs.remove(_as_removed(table.filter(pa.array(repeated))))
    books = Books()
    books.items_out.update(kept=-len(gone), removed=len(gone))
    books.by_rule_first[REPEATED] = books.by_rule_any[REPEATED] = len(gone)
    task.record.books = books
    outputs.publish()


def _as_removed(table: pa.Table) -> pa.Table:
    values = {
        "rule": [REPEATED] * table.num_rows,
        "value": [None] * table.num_rows,
        "bound": [None] * table.num_rows,
    }
    values["rules"] = [[REPEATED]] * table.num_rows
    for field in REMOVAL_FIELDS:
        table = table.append_column(field, pa.array(values[field.name], field.type))
    return table
