"""Learn topics from a hash sample of documents, and tell the topic of each document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.cells import TOPIC as TOPIC_COLUMN
from gristmill.classifiers.topics import learning as telling
from gristmill.document import text_bytes
from gristmill.facts import Facts
from gristmill.files.storage import ParquetWriter, read_tables
from gristmill.hashing import uniform
from gristmill.heldout import for_training
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.topics import (
    TopicsFacts,
    TopicsSlice,
    TopicsTrainFacts,
    TopicsTrainSlice,
)

TOPIC = pa.field(TOPIC_COLUMN, pa.string())  # `other` for documents of which nothing is known
SCORE = pa.field("topic_score", pa.float32())
REMOVE = "topics.remove"
SAMPLE = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("text", pa.large_string()),
        pa.field("language", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class TopicTally(Facts):
    """Documents and bytes of text by topic."""

    topics: Mapping[str, Sequence[int]]


def train(job: Job[TopicsTrainSlice]) -> Stage:
    """Sample every file by hash, and learn from the samples in one task."""
    paths = [path for name in job.settings.sources for path in job.paths("documents", name)]
    held = dict(job.files("documents"))
    rows = sum(held[path].rows for path in paths)
    fraction = min(1.0, job.settings.topics.sample_documents / max(1, rows))
    sampled = yield over_paths("sample", sample_file, paths, fraction=fraction)
    arguments = {"samples": files(job, sampled, "sample")}
    (record,) = yield Phase("train", [Task("topics", learn_topics, arguments)])
    facts = record.stated(TopicsTrainFacts)
    return TopicsTrainFacts(
        **{
            **facts.as_json(),
            "warnings": _warnings(facts, job.settings.topics.min_stability),
            "replaced_files": passed_on(job, sampled),
        }
    )


def _warnings(facts: TopicsTrainFacts, least: float) -> list[str] | None:
    if facts.stability is None or facts.stability >= least:
        return None
    return [
        f"topics are not stable: two halves of the sample agree by only {facts.stability:.2f} (adjusted Rand"
        " index, 1 is the same); fewer topics, or a larger sample, give steadier ones"
    ]


def sample_file(task: Attempt[TopicsTrainSlice], path: str, fraction: float) -> None:
    with ParquetWriter(task.scratch / "sample.parquet", SAMPLE) as writer:
        for table in read_tables(Path(path)):
            table = for_training(table, task.seed, task.settings.heldout_fraction)
            drawn = uniform(task.seed, "topics.sample", table["id"].combine_chunks()) < fraction
            table = table.filter(pa.array(drawn))
            texts = telling.window(table["text"], task.settings.topics)
            writer.write(pa.table([table["id"], texts, table["language"]], schema=SAMPLE))
    task.publish(writer.path, "sample", writer.num_rows)


def learn_topics(task: Attempt[TopicsTrainSlice], samples: Sequence[str]) -> None:
    tables = [table for path in samples for table in read_tables(Path(path))]
    sample = pa.concat_tables([SAMPLE.empty_table(), *tables])
    folder = task.scratch / "topics"
    card = telling.learn(task.settings.topics, sample, folder, task.seed)
    told = {name: card[name] for name in ("topics", "documents", "words", "stability", "stability_by_number")}
    task.record.state(TopicsTrainFacts(**told))
    for path in sorted(folder.iterdir()):
        task.publish(path, "topic-model", name=f"topics/{path.name}")


def assign(job: Job[TopicsSlice]) -> Stage:
    """Tell the topic of every document of a source."""
    model = next((path.parent for path in job.paths("topic-model")), None)
    place = str(model or job.settings.topics.model)
    paths = job.paths("documents", job.settings.source)
    told = yield over_paths("assign", assign_file, paths, may_lose=True, model=place)
    return TopicsFacts(
        topics=_total(record.stated(TopicTally).topics for record in told if not record.is_lost)
    )


def _total(tallies: Iterable[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    total: dict[str, list[int]] = {}
    for tally in tallies:
        for name, counts in tally.items():
            sums = total.setdefault(name, [0, 0])
            total[name] = [have + more for have, more in zip(sums, counts, strict=True)]
    return dict(sorted(total.items(), key=lambda item: (-item[1][0], item[0])))


def assign_file(task: Attempt[TopicsSlice], path: str, model: str) -> None:
    settings = task.settings.topics
    topics = telling.open_topics(settings, Path(model))
    names = pa.array([*topics.names, telling.OTHER], pa.string())
    columns = (TOPIC, SCORE)
    sieve = Sieve(task, extra_fields(Path(path)), task.settings.source, carried=columns, noted=columns)
    tally: dict[str, list[int]] = {}
    for table in read_tables(Path(path)):
        numbers, scores = topics.assign(table["text"])
        told = names.take(pa.array(np.where(numbers < 0, len(names) - 1, numbers)))
        goes = pc.is_in(told, pa.array(settings.remove, pa.string()))
        rules = pc.if_else(goes, REMOVE, pa.scalar(None, pa.string()))
        values = pa.array(scores, pa.float64())
        bounds = pa.nulls(len(values), pa.float64())
        columns_ = {TOPIC.name: told, SCORE.name: pa.array(scores, pa.float32())}
        sieve.decide(table, rules, values, bounds, columns_)
        _count(tally, told, table)
    task.record.state(TopicTally(tally))
    sieve.publish()


def _count(tally: dict[str, list[int]], told: pa.Array, table: pa.Table) -> None:
    for name in pc.unique(told).to_pylist():
        own = table.filter(pc.equal(told, name))
        sums = tally.get(name, [0, 0])
        tally[name] = [sums[0] + own.num_rows, sums[1] + text_bytes(own)]
