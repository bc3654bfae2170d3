"""Remove or cut documents that hold benchmark items, and report every hit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gristmill.dedup import decontaminate
from gristmill.dedup.cuts import CUTS
from gristmill.dedup.decisions import Applied
from gristmill.dedup.settings import DecontaminateSettings
from gristmill.errors import UsageError
from gristmill.hashing import sha256_file
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.stages.dedup import Shard, files, over_shards, shards_of, write_applied
from gristmill.storage import ParquetWriter


def benchmark_digests(settings: DecontaminateSettings) -> dict[str, str]:
    """What the step depends on besides its settings: the benchmark files' content."""
    for path in settings.benchmarks:
        if not Path(path).is_file():
            raise UsageError(
                f"the benchmark `{path}` is no file",
                hint="`dedup.decontaminate.benchmarks` are paths of JSON lines",
            )
    return {path: sha256_file(Path(path)) for path in settings.benchmarks}


def decontaminate_stage(job: Job) -> Stage:
    settings: DecontaminateSettings = job.settings.decontaminate
    read = yield Phase("benchmarks", [Task("all", read_benchmarks, {"settings": settings})])
    (grams,), (items,) = files(job, read, "grams"), files(job, read, "items")
    common = {"grams": grams, "items": items, "seed": job.seed, "keep_removed": job.settings.keep_removed}
    applied = yield over_shards("apply", apply_shard, shards_of(job), settings=settings, **common)
    return {**read[0].counts, "hits": sum(record.counts["hits"] for record in applied)}


def read_benchmarks(task: Attempt, settings: DecontaminateSettings) -> None:
    grams, items = task.scratch / "grams.run", task.scratch / "items.parquet"
    task.record.counts = decontaminate.index_benchmarks(settings, grams, items)
    task.publish(grams, "grams")
    task.publish(items, "items", task.record.counts["items"])


def apply_shard(
    task: Attempt,
    shard: Shard,
    settings: DecontaminateSettings,
    grams: str,
    items: str,
    seed: int,
    keep_removed: Any,
) -> None:
    with ParquetWriter(task.scratch / "hits.parquet", decontaminate.HITS) as writer:

        def batches() -> Iterator[Applied]:
            for applied, hits in decontaminate.decontaminate(
                settings, Path(grams), Path(items), Path(shard.path)
            ):
                writer.write(hits)
                yield applied

        write_applied(task, shard, batches(), CUTS, seed, keep_removed)
    task.record.counts = {"hits": writer.num_rows}
    task.publish(writer.path, "hits", writer.num_rows, source=shard.source)
