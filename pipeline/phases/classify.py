"""Train the quality classifier on curated against crawled sources, then score a source and decide what
stays."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.classifiers import keep as keeping
from gristmill.classifiers import quality, telling
from gristmill.classifiers.draw import draw
from gristmill.classifiers.parts import large_domains, tally_hosts
from gristmill.classifiers.passages import COLUMNS, num_passages, sample_bounds, with_passages_below
from gristmill.classifiers.settings import TopFraction
from gristmill.facts import Counts, Facts
from gristmill.heldout import for_training
from gristmill.location import staged
from gristmill.manifest import TaskRecord
from gristmill.parquet import read_parquet
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.classify import (
    ClassifyScoreFacts,
    ClassifyScoreSlice,
    ClassifyTrainFacts,
    ClassifyTrainSlice,
)
from gristmill.storage import ParquetWriter, read_tables

SCORES = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("score", pa.float32()),  # null where too little of the text is known
        pa.field("known_words", pa.int64()),
        pa.field("known_fraction", pa.float64()),
    ]
)
SCORE = pa.field("quality_score", pa.float32())  # the column that scored documents carry on, kept or removed
SCORE_BINS = [round(step / 20, 2) for step in range(21)]
Cut = tuple[
    list[float], list[TaskRecord]
]  # score and draw of the last document kept, and the phase that led there
TOO_LITTLE = "classify.too_little"


@dataclass(frozen=True, slots=True)
class Hosts(Facts):
    """Documents by host, of hosts that hold a noted share of a file."""

    hosts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Unscored(Counts):
    """Documents of which too little is known for a score."""

    too_little: int = 0


@dataclass(frozen=True, slots=True)
class ScoreTally(Facts):
    """Scores by bin, where the quantile of all is looked for."""

    tally: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CutAt(Facts):
    """Score and draw of the last document kept."""

    cut: list[float]


@dataclass(frozen=True, slots=True)
class Groups(Facts):
    """Documents kept and removed, by language and by length."""

    groups: dict[str, dict[str, dict[str, float]]]


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


def score(job: Job[ClassifyScoreSlice]) -> Stage:
    """Score every file of a source; keep by rule. `top_fraction` looks at all scores before it decides."""
    piece = job.settings
    model = next((path.parent for path in job.paths("classifier")), None)
    common: dict[str, Any] = {"model": str(model or piece.classifier.model)}
    paths = job.paths("documents", piece.source)
    scored = yield over_paths("score", score_file, paths, may_lose=True, **common)
    scores = {
        record.task: str(job.folder / entry.path) for record in scored for entry in record.named("scores")
    }
    cut: list[float] | None = None
    near: list[TaskRecord] = []
    if isinstance(piece.classifier.keep, TopFraction):
        cut, near = yield from cut_phases(job, piece.classifier.keep, scored)
    common |= {"cut": cut}
    tasks = [
        Task(key, keep_file, {"path": str(paths[int(key)]), "scores": score}) for key, score in scores.items()
    ]
    decided = yield Phase("keep", tasks, common, may_lose=True)
    groups = telling.merged(record.stated(Groups).groups for record in decided if not record.is_lost)
    with tempfile.TemporaryDirectory(prefix="gristmill-model-") as folder:
        model = staged({"model": common["model"]}, Path(folder))["model"]  # the output may lie elsewhere
        warnings = telling.warnings(groups, quality.Scorer(piece.classifier, Path(model)))
    return ClassifyScoreFacts(
        rule=piece.classifier.keep.rule,
        groups=groups,
        warnings=warnings,
        replaced_files=passed_on(job, near),
    )


def cut_phases(
    job: Job[ClassifyScoreSlice], keep: TopFraction, scored: Sequence[TaskRecord]
) -> Generator[Phase, list[TaskRecord], Cut]:
    """Find the exact quantile in two passes: the tallies say in which bin it lies, then only that bin's
    scores are compared."""
    counts = Counter[int]()
    for record in scored:
        counts.update({int(each): count for each, count in record.stated(ScoreTally).tally.items()})
    unscored = Unscored.total(scored).too_little
    which, wanted = keeping.crossing(counts, keep.fraction, unscored)
    tasks = [
        Task(record.task, near_cut, {"scores": str(job.folder / entry.path)})
        for record in scored
        for entry in record.named("scores")
    ]
    near = yield Phase("near", tasks, {"which": which})
    (record,) = yield Phase(
        "cut", [Task("all", cut_scores, {"near": files(job, near, "near"), "wanted": wanted})]
    )
    return record.stated(CutAt).cut, near


def score_file(task: Attempt[ClassifyScoreSlice], path: str, model: str) -> None:
    settings = task.settings.classifier
    scorer = quality.Scorer(settings, Path(model))
    tally, num_unscored = Counter[str](), 0
    with ParquetWriter(task.scratch / "scores.parquet", SCORES) as writer:
        for table in read_tables(Path(path)):
            scored = scorer.measure(table)
            missing = np.isnan(scored.scores)
            columns = [pa.array(scored.scores, mask=missing), scored.known, scored.shares]
            writer.write(pa.table([table["id"], *columns], schema=SCORES))
            num_unscored += int(missing.sum())
            if isinstance(settings.keep, TopFraction):
                tally.update({str(each): count for each, count in keeping.tally(scored.scores).items()})
    task.publish(writer.path, "scores", writer.num_rows)
    task.record.state(Unscored(num_unscored))
    if isinstance(settings.keep, TopFraction):
        task.record.state(ScoreTally(dict(tally)))


def near_cut(task: Attempt[ClassifyScoreSlice], scores: str, which: int) -> None:
    """Leave the scores and draws of one bin for the task that compares them."""
    table = read_parquet(scores)
    table = table.filter(pc.is_valid(table["score"]))
    table = table.filter(pa.array(keeping.in_bin(table["score"].to_numpy(), which)))
    path = task.scratch / "near.npy"
    buffer = io.BytesIO()  # to a file, NumPy would write without looking whether all of it arrived
    np.save(buffer, np.stack([table["score"].to_numpy(), draw(task.seed, table["id"].combine_chunks())]))
    path.write_bytes(buffer.getbuffer())
    task.publish(path, "near", table.num_rows)


def cut_scores(task: Attempt[ClassifyScoreSlice], near: Sequence[str], wanted: int) -> None:
    scores, draws = np.concatenate([np.load(path) for path in near], axis=1) if near else np.empty((2, 0))
    cut = keeping.find_cut(scores.astype(np.float32), draws, wanted)
    task.record.state(CutAt([cut.score, cut.draw]))


def keep_file(
    task: Attempt[ClassifyScoreSlice], path: str, scores: str, model: str, cut: Sequence[float] | None
) -> None:
    """Keep or remove the documents of one file by their scores; the removed name the score they would have
    needed."""
    settings = task.settings.classifier
    rule = quality.Scorer(settings, Path(model)).keep
    sieve = Sieve(task, Path(path), task.settings.source, carried=[SCORE])
    known = read_parquet(scores)
    groups = telling.Groups()
    kept_scores, removed_scores = [], []
    for table in read_tables(Path(path)):
        mine = known.slice(sieve.num_rows, table.num_rows)
        values = pc.fill_null(mine["score"], np.nan).to_numpy()
        missing = np.isnan(values)
        decided = keeping.decide(
            rule, table["id"].combine_chunks(), values, task.seed, keeping.Cut(*cut) if cut else None
        )
        mask = np.where(missing, settings.too_little == "keep", decided.mask)
        names = np.where(missing, TOO_LITTLE, decided.rule)
        rules = pa.array(names.tolist(), pa.string(), mask=mask)
        words, share = mine["known_words"].to_numpy(), mine["known_fraction"].to_numpy()
        few = words < settings.min_known_words
        measured = np.where(missing, np.where(few, words, share), values)
        bounds = np.where(few, settings.min_known_words, settings.min_known_fraction)
        bounds = np.where(missing, bounds, decided.bounds)
        score = pa.array(values, pa.float32(), mask=missing)
        sieve.decide(table, rules, pa.array(measured), pa.array(bounds), {SCORE.name: score})
        groups.add(table, mask, values)
        kept_scores.append(values[mask & ~missing])
        removed_scores.append(values[~mask & ~missing])
    sieve.publish()
    task.record.state(Groups(groups.facts()))
    task.record.histograms["classify.score"] = {
        "bins": SCORE_BINS,
        "kept": _histogram(kept_scores),
        "removed": _histogram(removed_scores),
    }


def _histogram(parts: Sequence[np.ndarray]) -> list[int]:
    values = np.concatenate(parts) if parts else np.empty(0)
    return [int(count) for count in np.histogram(values, SCORE_BINS)[0]]
