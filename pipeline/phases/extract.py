"""From a source's inputs to documents: one task per shard, then records that were seen twice are let go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gristmill.arrays import write_array
from gristmill.facts import StepFacts
from gristmill.files.storage import FileEntry
from gristmill.manifest import TaskRecord
from gristmill.pipeline.extract.absent import Absent, absent_notes
from gristmill.pipeline.extract.extraction import Extraction
from gristmill.pipeline.phases.repeats import UNKEYED, ShardRead, keep_first, let_repeats_go
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from gristmill.pipeline.sources.record import InputShard, RangeEnd
from gristmill.pipeline.stages.extract import ExtractFacts, ExtractSlice


def extract(job: Job[ExtractSlice]) -> Stage:
    """Extract every shard, check that ranges of split files meet, and keep the first of records with equal
    ids."""
    piece = job.settings
    shards = plan_shards(piece.inputs, piece.shard_bytes, job.carried.get("files"))
    if piece.only is not None:
        shards = [_together([shards[number] for number in task], shards[0].format) for task in piece.only]
    tasks = [Task(f"{number:05d}", extract_shard, {"shard": shard}) for number, shard in enumerate(shards)]
    records = yield Phase("extract", tasks, may_lose=True)
    if piece.only is None:
        check_ranges_meet(RangeEnd(**end) for record in records for end in record.stated(ShardRead).ends)
    facts: StepFacts = ExtractFacts()
    if len(records) > 1 or any(record.stated(ShardRead).compare_rows for record in records):

        def anew(record: TaskRecord, number: int) -> Task:
            return Task(record.task, extract_once, {"shard": shards[int(record.task)], "number": number})

        facts = yield from keep_first(job, records, anew)
    read = ((_num_documents(record), record.stated(Absent)) for record in records)
    counts = _read_otherwise(records)
    said = [f"`{piece.source}`: {spell_note(name, num)}" for name, num in counts.items()]
    notes = [*absent_notes(read, piece.source), *said, *(facts.notes or ())]
    return ExtractFacts(notes=notes or None, replaced_files=facts.replaced_files, read=counts or None)


def _num_documents(record: TaskRecord) -> int:
    items = record.books.items_out if record.books else {}
    return items.get("kept", 0) + items.get("removed", 0)


def _read_otherwise(records: Sequence[TaskRecord]) -> dict[str, int]:
    """What was left out of documents or read otherwise than it says, by name."""
    counts: Counter[str] = Counter()
    for record in records:
        counts.update({name: num for name, num in record.counts.items() if name.startswith("note.") and num})
    return {name.removeprefix("note."): num for name, num in sorted(counts.items())}


_SPELLED = {
    "chunks_break_off": "pages whose chunks break off: what is there was kept",
    "chunks_damaged": "pages whose chunks turn into something else: what is there was kept",
    "cut_by_crawler": "records that their crawler has cut off (`WARC-Truncated`)",
    "charset_detected": "pages in a charset that neither header nor page names: it was detected",
    "damaged_content": "pages whose content coding was damaged: all before the damage was kept",
    "first_segment_only": "records of which only the first segment is there",
    "more_than_promised": "records behind which more stands than their header promises: cut there",
    "shorter_than_promised": "pages with fewer bytes than their `Content-Length` promises",
    "unreadable_date": "dates could not be read and are null",
    "url_too_long": "URLs are longer than documents carry and are null",
}


def spell_note(name: str, num: int) -> str:
    """Say what a counter of values that were left out counts."""
    kind, _, column = name.partition(".")
    if name in _SPELLED:
        return f"{num:,} {_SPELLED[name]}"
    if kind == "unreadable":
        return f"{num:,} values of column `{column}` could not be read and are null"
    if kind.startswith("no_"):
        return f"{num:,} values of column `{column}` are no {kind.removeprefix('no_')} and are null"
    return f"{num:,} records: {kind.replace('_', ' ')}"


def _together(shards: Sequence[InputShard], otherwise: str) -> InputShard:
    """Several shards of one format as one; none of them as one without ranges."""
    ranges = tuple(range_ for shard in shards for range_ in shard.ranges)
    return InputShard(shards[0].format if shards else otherwise, ranges, shards[0].limit if shards else None)


def extract_shard(task: Attempt[ExtractSlice], shard: InputShard) -> None:
    piece = task.settings
    extraction = Extraction(shard, piece.source, piece.inputs, piece.extract)
    outcomes = Outcomes(task, piece.source, piece.inputs.extra_fields(), by_url=True, books=extraction.books)
    are_own: list[bool] = []
    has_own_ids = False
    for batch in extraction:
        outcomes.write(batch.documents, batch.removed, batch.failed, own_keys=batch.own_keys)
        are_own += batch.are_own
        has_own_ids |= batch.own_keys[0].null_count < len(batch.own_keys[0])
    task.record.counts = dict(extraction.counts)
    outcomes.publish()
    _publish_unkeyed(task, are_own)
    read = ShardRead(
        ends=[asdict(end) for end in extraction.ends],
        keys=_kind_of_keys(are_own),
        compare_rows=has_own_ids or extraction.has_equal_rows,
    )
    task.record.state(read, extraction.absent.facts())


def extract_once(task: Attempt[ExtractSlice], shard: InputShard, number: int, repeats: Sequence[str]) -> None:
    """Read a shard again whose documents were handed on, and let its repeated records go."""
    scratch = task.scratch / "first"
    scratch.mkdir()
    record = TaskRecord("extract", task.record.task)
    first = _Aside(task.folder, scratch, record, task.settings, task.seed)
    extract_shard(first, shard)
    files = {entry.kind: entry.path for entry in record.files}
    unkeyed = files.get(UNKEYED) or record.stated(ShardRead).keys == "none"
    let_repeats_go(task, files["documents"], files["documents-keys"], unkeyed, number, repeats)


class _Aside(Attempt[ExtractSlice]):
    """An attempt whose files stay in its scratch folder."""

    def publish(
        self, path: Path, kind: str, rows: int = 0, *, source: str | None = None, name: str | None = None
    ) -> FileEntry:
        entry = FileEntry(kind, str(path), "", 0, rows, source)
        self.record.files.append(entry)
        return entry


def _kind_of_keys(are_own: Sequence[bool]) -> str:
    num_own = sum(are_own)
    return "own" if num_own == len(are_own) else "mixed" if num_own else "none"


def _publish_unkeyed(task: Attempt[ExtractSlice], are_own: Sequence[bool]) -> None:
    """Name the rows whose ids are not of keys of their own, where a shard has both kinds."""
    num_own = sum(are_own)
    if 0 < num_own < len(are_own):
        path = task.scratch / "unkeyed.bin"
        write_array(path, np.flatnonzero(~np.array(are_own)).astype("<u4"))
        task.publish(path, UNKEYED, len(are_own) - num_own)
