"""Records that were seen before: of all with one id, the first in the order of files and offsets stays.

Ids are hashes, so a range of them is an even share of all: each task compares one range over the sorted
sidecars of all shards, and memory is that share however many shards there are. What repeats lies in files;
the driver hears which shards they name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import removed_rows
from gristmill.index import read_range
from gristmill.ledger import Books
from gristmill.manifest import Record
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.outcomes import Outcomes
from gristmill.pipeline.stages.extract import ExtractSlice
from gristmill.storage import read_tables

REPEATED = "input.repeated_record"
_IDS_PER_TASK = 1 << 23  # about 600 MB while they are sorted
_ROW = np.dtype([("shard", "<u4"), ("row", "<u4")])


def keep_first(job: Job[ExtractSlice], records: Sequence[Record]) -> Stage:
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
    common = {"repeats": [str(job.folder / entry.path) for entry in listed]}
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


def find_repeats(task: Attempt[ExtractSlice], sidecars: Sequence[str], part: int, parts: int) -> None:
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


def let_repeats_go(task: Attempt[ExtractSlice], path: str, shard: int, repeats: Sequence[str]) -> None:
    """Write a shard's documents again without those that repeat; they move from kept to removed in the
    books."""
    gone = rows_of(repeats, shard)
    books = Books()
    books.items_out.update(kept=-len(gone), removed=len(gone))
    books.by_rule_first[REPEATED] = books.by_rule_any[REPEATED] = len(gone)
    outcomes = Outcomes(task, task.settings.source, extra_fields(Path(path)), by_url=True, books=books)
    row = 0
    for table in read_tables(Path(path)):
        repeated = pa.array(np.isin(np.arange(row, row + table.num_rows), gone))
        row += table.num_rows
        lost = table.filter(repeated)
        rules = pa.array([REPEATED] * lost.num_rows, pa.string())
        outcomes.write(table.filter(pc.invert(repeated)), removed_rows(lost, rules))
    outcomes.publish()
