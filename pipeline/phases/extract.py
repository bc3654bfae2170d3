"""From a source's inputs to documents: one task per shard, then records that were seen twice are let go."""

from __future__ import annotations

from collections.abc import Sequence

from gristmill.pipeline.extract.extraction import Extraction
from gristmill.pipeline.phases.repeats import keep_first
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.outcomes import Outcomes
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from gristmill.pipeline.sources.record import InputShard, RangeEnd
from gristmill.pipeline.stages.extract import ExtractSlice


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
        check_ranges_meet(RangeEnd(**end) for record in records for end in record.extra.get("ends", ()))
    if len(records) < 2:
        return {}
    return (yield from keep_first(job, records))


def _together(shards: Sequence[InputShard], otherwise: str) -> InputShard:
    """Several shards of one format as one; none of them as one without ranges."""
    ranges = tuple(range_ for shard in shards for range_ in shard.ranges)
    return InputShard(shards[0].format if shards else otherwise, ranges, shards[0].limit if shards else None)


def extract_shard(task: Attempt[ExtractSlice], shard: InputShard) -> None:
    piece = task.settings
    extraction = Extraction(shard, piece.source, piece.inputs, piece.extract)
    outcomes = Outcomes(task, piece.source, piece.inputs.extra_fields(), by_url=True, books=extraction.books)
    for batch in extraction:
        outcomes.write(batch.documents, batch.removed, batch.failed)
    task.record.counts = dict(extraction.counts)
    outcomes.publish()
    task.record.extra["ends"] = [
        {"path": end.path, "start": end.start, "end": end.end, "first": end.first, "next": end.next}
        for end in extraction.ends
    ]
