"""Count a source's words and pairs of words by bucket, per file, and add the counts up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gristmill.arrays import read_array, write_array
from gristmill.errors import InputError
from gristmill.facts import Counts
from gristmill.files.storage import cut_by_bytes, read_tables
from gristmill.filters.published import importance
from gristmill.filters.published.distribution import Distribution, save
from gristmill.hashing import uniform
from gristmill.heldout import for_training
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.importance import ImportanceTrainFacts, ImportanceTrainSlice

_BATCH_BYTES = 16 << 20  # of text whose words are held at once


@dataclass(frozen=True, slots=True)
class Counted(Counts):
    """Documents of a file that were counted, and their words."""

    documents: int = 0
    words: int = 0


def train(job: Job[ImportanceTrainSlice]) -> Stage:
    """Count every file; held-out documents are not read."""
    piece = job.settings
    paths = job.paths("documents", piece.source)
    held = dict(job.files("documents"))
    rows = sum(held[path].rows for path in paths)
    fraction = min(1.0, piece.sample_documents / max(1, rows))
    counted = yield over_paths("count", count_file, paths, fraction=fraction)
    total = Counted.total(counted)
    if not total.words:
        raise InputError(
            f"there are no words to count of in `{piece.source}`",
            hint="see with `gristmill status` what removed its documents",
        )
    arguments = {
        "counts": files(job, counted, "counts"),
        "documents": total.documents,
        "words": total.words,
    }
    yield Phase("sum", [Task("distribution", write_distribution, arguments)])
    return ImportanceTrainFacts(
        documents=total.documents, words=total.words, replaced_files=passed_on(job, counted)
    )


def count_file(task: Attempt[ImportanceTrainSlice], path: str, fraction: float) -> None:
    piece = task.settings
    counts = np.zeros(piece.buckets, np.int64)
    documents = num_words = 0
    for group in read_tables(Path(path)):
        table = for_training(group, task.seed, piece.heldout_fraction)
        drawn = uniform(task.seed, "importance.sample", table["id"].combine_chunks()) < fraction
        for batch in cut_by_bytes(table.filter(drawn), _BATCH_BYTES):
            words = importance.raw_words([text or "" for text in batch["text"].to_pylist()])
            counts += importance.count(words, piece.buckets)
            documents += batch.num_rows
            num_words += len(words.places)
    task.record.state(Counted(documents, num_words))
    write_array(task.scratch / "counts.i8", counts.astype("<i8"))
    task.publish(task.scratch / "counts.i8", "counts")


def write_distribution(
    task: Attempt[ImportanceTrainSlice], counts: Sequence[str], documents: int, words: int
) -> None:
    total = np.zeros(task.settings.buckets, np.int64)
    for path in counts:
        total += read_array(path, "<i8", task.settings.buckets)
    folder = task.scratch / "distribution"
    save(Distribution(total, words / documents), folder)
    for file in sorted(folder.iterdir()):
        task.publish(file, "distribution", name=f"distribution/{file.name}")
