"""Train the quality classifier on curated against crawled sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.classifiers.quality import classifier as quality
from gristmill.classifiers.quality.parts import large_domains, tally_hosts
from gristmill.classifiers.quality.passages import COLUMNS, num_passages, sample_bounds, with_passages_below
from gristmill.facts import Facts
from gristmill.files.storage import ParquetWriter, read_tables
from gristmill.heldout import for_training
from gristmill.pipeline.phases.shuffle import passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.classify import ClassifyTrainFacts, ClassifyTrainSlice


@dataclass(frozen=True, slots=True)
class Hosts(Facts):
    """Documents by host, of hosts that hold a noted share of a file."""

    hosts: Mapping[str, int]


def train(job: Job[ClassifyTrainSlice]) -> Stage:
    """Train one model; its report becomes the step's facts.

    Files are counted and sampled each by itself: the task that trains reads the documents it may need, not
    the corpus.
    """
    piece = job.settings
    sides = {"positives": list(piece.positives), "negatives": list(piece.negatives)}
    names = list(dict.fromkeys([*sides["positives"], *sides["negatives"]]))
    documents = [(path, name) for name in names for path in job.paths("documents", name)]
    tallied = yield over_paths("domains", tally_file, [path for path, _ in documents])
    hosts: dict[str, list[Mapping[str, int]]] = {name: [] for name in names}
    for record, (_, name) in zip(tallied, documents, strict=True):
        hosts[name].append(record.stated(Hosts).hosts)
    common: dict[str, Any] = {
        "large": sorted({large for own in hosts.values() for large in large_domains(own)})
    }
    counted = yield over_paths("count", count_file, [path for path, _ in documents], **common)
    totals = {name: Counter[str]() for name in names}
    for record, (_, name) in zip(counted, documents, strict=True):
        totals[name].update(record.counts)  # keyed by part and group of passages
    # A source that stands on both sides is sampled for the larger of its two shares.
    sources = min(len(side) for side in sides.values()) or 1
    bounds = {name: sample_bounds(piece.classifier, totals[name], sources) for name in names}
    tasks = [
        Task(f"{n:05d}", sample_file, {"path": str(path), "bounds": bounds[name]})
        for n, (path, name) in enumerate(documents)
    ]
    sampled = yield Phase("sample", tasks, common)
    found = [
        (name, entry.path)
        for record, (_, name) in zip(sampled, documents, strict=True)
        for entry in record.named("sample")
    ]
    samples = {
        side: {name: [str(job.folder / path) for own, path in found if own == name] for name in members}
        for side, members in sides.items()
    }
    (record,) = yield Phase("train", [Task("model", train_model, {**samples, **common})])
    report = record.stated(ClassifyTrainFacts).report
    return ClassifyTrainFacts(report, warnings=report["warnings"], replaced_files=passed_on(job, sampled))


def tally_file(task: Attempt[ClassifyTrainSlice], path: str) -> None:
    task.record.state(Hosts(tally_hosts(read_tables(Path(path), ["url"]))))


def count_file(task: Attempt[ClassifyTrainSlice], path: str, large: Sequence[str]) -> None:
    piece, counts = task.settings, Counter[str]()
    for table in read_tables(Path(path)):
        own = for_training(table, task.seed, piece.heldout_fraction)
        counts.update(num_passages(own, piece.classifier, task.seed, frozenset(large)))
    task.record.counts = dict(counts)


def sample_file(
    task: Attempt[ClassifyTrainSlice], path: str, bounds: Mapping[str, int], large: Sequence[str]
) -> None:
    piece, writer = task.settings, None
    for table in read_tables(Path(path)):
        own = for_training(table, task.seed, piece.heldout_fraction)
        wanted = with_passages_below(own, piece.classifier, task.seed, bounds, frozenset(large))
        wanted = wanted.select([name for name in COLUMNS if name in wanted.schema.names])
        writer = writer or ParquetWriter(task.scratch / "sample.parquet", wanted.schema)
        writer.write(wanted)
    if writer:
        writer.close()
        task.publish(writer.path, "sample", writer.num_rows)


def train_model(
    task: Attempt[ClassifyTrainSlice],
    positives: Mapping[str, Sequence[str]],
    negatives: Mapping[str, Sequence[str]],
    large: Sequence[str],
) -> None:
    good, bad = (
        {name: [Path(path) for path in paths] for name, paths in side.items()}
        for side in (positives, negatives)
    )
    piece, folder = task.settings, task.scratch / "model"
    report = quality.train(
        piece.classifier, good, bad, folder, task.seed, piece.heldout_fraction, frozenset(large)
    )
    task.record.state(ClassifyTrainFacts(report))
    for path in sorted(folder.iterdir()):
        task.publish(path, "classifier", name=f"model/{path.name}")
