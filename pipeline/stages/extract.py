"""From a source's inputs to documents: one task per shard, then records that were seen twice are let go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gristmill.pipeline.extract.extraction import Extraction
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.outcomes import DocumentOutputs
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from gristmill.pipeline.sources.record import InputShard, RangeEnd
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.pipeline.stages.repeats import keep_first
from gristmill.pipeline.stages.slices import ExtractSlice


def extract(job: Job) -> Stage:
    """Extract every shard, check that ranges of split files meet, and keep the first of records with equal
    ids."""
    piece: ExtractSlice = job.settings
    shards = plan_shards(piece.inputs, piece.shard_bytes, job.carried.get("files"))
    if piece.only is not None:
        shards = [_together([shards[number] for number in task], shards[0].format) for task in piece.only]
    common = {
        "source": piece.source,
        "inputs": piece.inputs,
        "settings": piece.extract,
        "seed": job.seed,
        "keep_removed": piece.keep_removed,
    }
    tasks = [Task(f"{number:05d}", extract_shard, {"shard": shard}) for number, shard in enumerate(shards)]
    records = yield Phase("extract", tasks, common, may_lose=True)
    if piece.only is None:
        check_ranges_meet(RangeEnd(**end) for record in records for end in record.extra.get("ends", ()))
    if len(records) < 2:
        return {}
    return (yield from keep_first(job, records, piece.source, piece.keep_removed))


def _together(shards: Sequence[InputShard], otherwise: str) -> InputShard:
    """Several shards of one format as one; none of them as one without ranges."""
    ranges = tuple(range_ for shard in shards for range_ in shard.ranges)
    return InputShard(shards[0].format if shards else otherwise, ranges, shards[0].limit if shards else None)


def extract_shard(
    task: Attempt,
    shard: InputShard,
    source: str,
    inputs: SourceSettings,
    settings: ExtractSettings,
    seed: int,
    keep_removed: Any,
) -> None:
    outputs = DocumentOutputs(
        task, source, seed, inputs.extra_fields(), keep_removed=keep_removed, by_url=True
    )
    extraction = Extraction(shard, source, inputs, settings)
    for batch in extraction:
        outputs.keep(batch.documents)
        outputs.remove(batch.removed)
        outputs.fail(batch.failed)
    task.record.books = extraction.books
    task.record.counts = dict(extraction.counts)
    outputs.publish()
    task.record.extra["ends"] = [
        {"path": end.path, "start": end.start, "end": end.end, "first": end.first, "next": end.next}
        for end in extraction.ends
    ]
