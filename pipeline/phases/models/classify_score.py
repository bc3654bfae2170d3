"""Score a source by the quality classifier, and decide which documents stay."""

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

from gristmill.classifiers.quality import classifier as quality
from gristmill.classifiers.quality import keep as keeping
from gristmill.classifiers.quality import telling
from gristmill.classifiers.quality.draw import draw
from gristmill.classifiers.settings import TopFraction
from gristmill.facts import Counts, Facts
from gristmill.files.disk import read_file
from gristmill.files.location import staged
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import ParquetWriter, read_tables
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.adopt import extra_fields, extra_fields_of
from gristmill.pipeline.phases.shuffle import files, passed_on
from gristmill.pipeline.phases.sieve import Sieve
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.run.onward import RowWise
from gristmill.pipeline.stages.classify import ClassifyScoreFacts, ClassifyScoreSlice

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


def score(job: Job[ClassifyScoreSlice]) -> Stage:
    """Score every file of a source; keep by rule. `top_fraction` looks at all scores before it decides."""
    piece = job.settings
    common: dict[str, Any] = {"model": _model_of(job)}
    paths = job.shards(piece.source)
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
        Task(key, keep_file, {"path": str(paths[key]), "scores": score}) for key, score in scores.items()
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


def as_they_come(job: Job[ClassifyScoreSlice]) -> RowWise:
    """How documents are scored and kept in the tasks of the step before, by a rule that looks at one score
    alone."""
    return RowWise(open_scoring, ("score", "keep"), {"model": _model_of(job)})


def _model_of(job: Job[ClassifyScoreSlice]) -> str:
    model = next((path.parent for path in job.paths("classifier")), None)
    return str(model or job.settings.classifier.model)


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
    scores = _Scores(task, quality.Scorer(task.settings.classifier, Path(model)))
    for table in read_tables(Path(path)):
        scores.add(table)
    scores.publish()


class _Scores:
    """The scores of one shard's documents, on their way into a file."""

    def __init__(self, task: Attempt[ClassifyScoreSlice], scorer: quality.Scorer) -> None:
        self._task, self._scorer = task, scorer
        self._writer = ParquetWriter(task.scratch / "scores.parquet", SCORES)
        self._tally, self._num_unscored = Counter[str](), 0
        self._tallies = isinstance(task.settings.classifier.keep, TopFraction)

    def add(self, documents: pa.Table) -> pa.Table:
        """Score documents; return what the file says of them."""
        scored = self._scorer.measure(documents)
        missing = np.isnan(scored.scores)
        columns = [pa.array(scored.scores, mask=missing), scored.words.telling, scored.words.shares]
        table = pa.table([documents["id"], *columns], schema=SCORES)
        self._writer.write(table)
        self._num_unscored += int(missing.sum())
        if self._tallies:
            self._tally.update({str(each): count for each, count in keeping.tally(scored.scores).items()})
        return table

    def publish(self) -> None:
        self._writer.close()
        self._task.publish(self._writer.path, "scores", self._writer.num_rows)
        self._task.record.state(Unscored(self._num_unscored))
        if self._tallies:
            self._task.record.state(ScoreTally(dict(self._tally)))


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
    scores, draws = (
        np.concatenate([np.load(io.BytesIO(read_file(Path(path)))) for path in near], axis=1)
        if near
        else np.empty((2, 0))
    )
    cut = keeping.find_cut(scores.astype(np.float32), draws, wanted)
    task.record.state(CutAt([cut.score, cut.draw]))


def keep_file(
    task: Attempt[ClassifyScoreSlice], path: str, scores: str, model: str, cut: Sequence[float] | None
) -> None:
    """Keep or remove the documents of one file by their scores; the removed name the score they would have
    needed."""
    scorer = quality.Scorer(task.settings.classifier, Path(model))
    keep = _Keep(task, extra_fields(Path(path)), scorer, keeping.Cut(*cut) if cut else None)
    known, row = read_parquet(scores), 0
    for table in read_tables(Path(path)):
        keep.add(table, known.slice(row, table.num_rows))
        row += table.num_rows
    keep.publish()


class _Keep:
    """What a rule keeps of one shard's documents by their scores."""

    def __init__(
        self,
        task: Attempt[ClassifyScoreSlice],
        came: Sequence[pa.Field],
        scorer: quality.Scorer,
        cut: keeping.Cut | None,
    ) -> None:
        self._task, self._rule, self._cut = task, scorer.keep, cut
        self._sieve = Sieve(task, came, task.settings.source, carried=[SCORE])
        self._groups = telling.Groups()
        self._kept, self._removed = list[np.ndarray](), list[np.ndarray]()

    def add(self, documents: pa.Table, scores: pa.Table) -> None:
        """Keep or remove documents by what the scores' file says of them, row by row."""
        settings = self._task.settings.classifier
        values = pc.fill_null(scores["score"], np.nan).to_numpy()
        missing = np.isnan(values)
        decided = keeping.decide(
            self._rule, documents["id"].combine_chunks(), values, self._task.seed, self._cut
        )
        mask = np.where(missing, settings.too_little == "keep", decided.mask)
        names = np.where(missing, TOO_LITTLE, decided.rule)
        rules = pa.array(names.tolist(), pa.string(), mask=mask)
        words, share = scores["known_words"].to_numpy(), scores["known_fraction"].to_numpy()
        few = words < settings.min_known_words
        measured = np.where(missing, np.where(few, words, share), values)
        bounds = np.where(few, settings.min_known_words, settings.min_known_fraction)
        bounds = np.where(missing, bounds, decided.bounds)
        score = pa.array(values, pa.float32(), mask=missing)
        self._sieve.decide(documents, rules, pa.array(measured), pa.array(bounds), {SCORE.name: score})
        self._groups.add(documents, mask, values)
        self._kept.append(values[mask & ~missing])
        self._removed.append(values[~mask & ~missing])

    def publish(self) -> None:
        self._sieve.publish()
        self._task.record.state(Groups(self._groups.facts()))
        self._task.record.histograms["classify.score"] = {
            "bins": SCORE_BINS,
            "kept": _histogram(self._kept),
            "removed": _histogram(self._removed),
        }


def open_scoring(
    attempts: Mapping[str, Attempt[ClassifyScoreSlice]], schema: pa.Schema, model: str
) -> ScoringWork:
    return ScoringWork(attempts, extra_fields_of(schema), model)


class ScoringWork:
    """Scoring and keeping of one shard at once: each group of rows is decided on as soon as it is scored."""

    def __init__(
        self, attempts: Mapping[str, Attempt[ClassifyScoreSlice]], came: Sequence[pa.Field], model: str
    ) -> None:
        scorer = quality.Scorer(attempts["score"].settings.classifier, Path(model))
        self._scores = _Scores(attempts["score"], scorer)
        self._keep = _Keep(attempts["keep"], came, scorer, None)

    def add(self, documents: pa.Table) -> None:
        self._keep.add(documents, self._scores.add(documents))

    def publish(self) -> None:
        self._scores.publish()
        self._keep.publish()


def _histogram(parts: Sequence[np.ndarray]) -> list[int]:
    values = np.concatenate(parts) if parts else np.empty(0)
    return [int(count) for count in np.histogram(values, SCORE_BINS)[0]]
