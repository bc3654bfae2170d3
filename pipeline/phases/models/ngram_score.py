"""Score a source by an n-gram model: perplexity and bucket become columns, and buckets that are not kept are
removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers.ngram import buckets as bucketing
from gristmill.classifiers.ngram import perplexity
from gristmill.classifiers.settings import BucketSettings
from gristmill.facts import Facts
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import ParquetWriter, cut_by_bytes, read_tables
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.phases.models.ngram import model_folder
from gristmill.pipeline.phases.shuffle import passed_on
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.ngram import NgramScoreFacts, NgramScoreSlice

PERPLEXITY = pa.field("perplexity", pa.float32())  # per word; null without words
BUCKET = pa.field("bucket", pa.string())
SCORES = pa.schema(
    [pa.field("id", pa.binary(16), nullable=False), PERPLEXITY, pa.field("language", pa.string())]
)
PERPLEXITY_BINS = [0.0, *(float(2 ** (step / 2)) for step in range(2, 41))]  # half doublings, 2 to 2^20
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class BucketCuts(Facts):
    """Each language's cuts between buckets; documents by language that the model never saw."""

    bounds: dict[str, Any]
    unseen: dict[str, int]


def score(job: Job[NgramScoreSlice]) -> Stage:
    """Score every file, find each language's cuts over all of them, then keep or remove."""
    piece = job.settings
    model = str(piece.path or model_folder(job))
    paths = job.paths("documents", piece.source)
    scored = yield over_paths("score", score_file, paths, may_lose=True, model=model)
    scores = {
        record.task: str(job.folder / entry.path)
        for record in scored
        for entry in record.named("perplexities")
    }
    arguments = {"scores": [*scores.values()], "model": model}
    (cut,) = yield Phase("bounds", [Task("all", find_bounds, arguments)])
    found = cut.stated(BucketCuts)
    common = {"bounds": found.bounds}
    tasks = [
        Task(key, keep_file, {"path": str(paths[int(key)]), "scores": score}) for key, score in scores.items()
    ]
    yield Phase("keep", tasks, common, may_lose=True)
    return NgramScoreFacts(
        language_bounds=found.bounds,
        unseen_languages=found.unseen,
        warnings=bucketing.warnings(found.unseen),
        replaced_files=passed_on(job, scored),
    )


def score_file(task: Attempt[NgramScoreSlice], path: str, model: str) -> None:
    opened = perplexity.open_scorer(Path(model), task.settings.kenlm, task.settings.languages)
    with ParquetWriter(task.scratch / "perplexities.parquet", SCORES) as writer:
        for table in read_tables(Path(path), ["id", "text", "language"]):
            for batch in cut_by_bytes(table, _BATCH_BYTES):
                writer.write(
                    pa.table([batch["id"], opened.perplexity(batch), batch["language"]], schema=SCORES)
                )
    task.publish(writer.path, "perplexities", writer.num_rows)


def find_bounds(task: Attempt[NgramScoreSlice], scores: Sequence[str], model: str) -> None:
    settings = task.settings.buckets
    opened = perplexity.open_scorer(Path(model), task.settings.kenlm, task.settings.languages)
    unseen = Counter[str]()

    def read() -> Iterator[pa.Table]:
        return (table for path in scores for table in read_tables(Path(path), ["perplexity", "language"]))

    def sees(language: str) -> bool:
        return opened.sees(language, settings.min_language_words)

    for table in read():
        for language in table.filter(pc.is_valid(table["perplexity"]))["language"].to_pylist():
            unseen[language or ""] += not sees(language or "")
    bounds = bucketing.bucket_bounds(settings, read, sees)
    counted = {name: count for name, count in sorted(unseen.items()) if count}
    task.record.state(BucketCuts(bounds, counted))


def keep_file(task: Attempt[NgramScoreSlice], path: str, scores: str, bounds: bucketing.Bounds) -> None:
    """Keep the buckets asked for; the removed name the perplexity at which the nearest kept bucket ends or
    begins."""
    columns = (PERPLEXITY, BUCKET)
    settings = task.settings.buckets
    sieve = Sieve(task, extra_fields(Path(path)), task.settings.source, carried=columns, noted=columns)
    known = read_parquet(scores)
    counts = {outlet: np.zeros(len(PERPLEXITY_BINS) - 1, np.int64) for outlet in ("kept", "removed")}
    for table in read_tables(Path(path)):
        mine = known.slice(sieve.num_rows, table.num_rows)
        values, named = (
            mine["perplexity"].combine_chunks(),
            bucketing.buckets(mine["perplexity"], mine["language"], bounds),
        )
        stays = pc.is_in(named, pa.array(settings.keep, pa.string()))
        rules = pc.if_else(stays, None, pc.binary_join_element_wise("ngram", named, "."))
        limits = pa.array(
            nearest_bounds(settings, bounds, mine["language"].to_pylist(), named.to_pylist()), pa.float64()
        )
        sieve.decide(table, rules, values.cast(pa.float64()), limits, {"perplexity": values, "bucket": named})
        for outlet, part in (("kept", values.filter(stays)), ("removed", values.filter(pc.invert(stays)))):
            finite = part.drop_null().to_numpy()
            counts[outlet] += np.histogram(np.minimum(finite, PERPLEXITY_BINS[-1]), PERPLEXITY_BINS)[0]
    sieve.publish()
    task.record.histograms["ngram.perplexity"] = {
        "bins": PERPLEXITY_BINS,
        **{outlet: [int(count) for count in part] for outlet, part in counts.items()},
    }


def nearest_bounds(
    settings: BucketSettings, bounds: bucketing.Bounds, languages: Sequence[str | None], named: Sequence[str]
) -> list[float]:
    """The cut between each document's bucket and the kept one beside it; a kept document's own upper cut."""
    found = []
    for language, bucket in zip(languages, named, strict=True):
        head, middle = bounds.get(language or "", (0.0, 0.0))
        upper = bucket == "tail" or (bucket == "middle" and "head" not in settings.keep)
        found.append(middle if upper else head)
    return found
