"""Train the quality classifier on curated against crawled sources, then score a source and decide what stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.classifiers import keep as keeping
from gristmill.classifiers import quality
from gristmill.classifiers.settings import ClassifierSettings, TopFraction
from gristmill.pipeline.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.outputs import KeepRemoved
from gristmill.pipeline.stages.dedup import files
from gristmill.pipeline.stages.sieve import Sieve
from gristmill.storage import ParquetWriter, read_tables

SCORES = pa.schema([pa.field("id", pa.binary(16), nullable=False), pa.field("score", pa.float32(), nullable=False)])
SCORE = pa.field("quality_score", pa.float32())  # the column that scored documents carry on, kept or removed
SCORE_BINS = [round(step / 20, 2) for step in range(21)]
MODEL_FILES = (quality.MODEL, quality.CARD)


def train(job: Job) -> Stage:
    """Train one model; its report becomes the step's facts."""
    piece = job.settings

    def paths(sources: Sequence[str]) -> dict[str, list[str]]:
        return {name: [str(path) for path in job.paths("documents", name)] for name in sources}

    arguments = {
        "settings": piece.classifier,
        "positives": paths(piece.positives),
        "negatives": paths(piece.negatives),
        "heldout_fraction": piece.heldout_fraction,
        "seed": job.seed,
    }
    (record,) = yield Phase("train", [Task("model", train_model, arguments)])
    return dict(record.extra)


def train_model(
    task: Attempt,
    settings: ClassifierSettings,
    positives: Mapping[str, Sequence[str]],
    negatives: Mapping[str, Sequence[str]],
    heldout_fraction: float,
    seed: int,
) -> None:
    good, bad = ({name: [Path(path) for path in paths] for name, paths in side.items()} for side in (positives, negatives))
    folder = task.scratch / "model"
    task.record.extra["report"] = quality.train(settings, good, bad, folder, seed, heldout_fraction)
    for name in MODEL_FILES:
        task.publish(folder / name, "classifier", name=f"model/{name}")


def score(job: Job) -> Stage:
    """Score every file of a source; keep by rule. `top_fraction` looks at all scores before it decides."""
    piece = job.settings
    model = next((path.parent for path in job.paths("classifier")), None)
    common = {"settings": piece.classifier, "model": str(model or piece.classifier.model)}
    paths = job.paths("documents", piece.source)
    scored = yield over_paths("score", score_file, paths, **common)
    scores = files(job, scored, "scores")
    cut = None
    if isinstance(piece.classifier.keep, TopFraction):
        (record,) = yield Phase(
            "cut", [Task("all", cut_scores, {"scores": scores, "fraction": piece.classifier.keep.fraction, "seed": job.seed})]
        )
        cut = record.extra["cut"]
    common |= {"source": piece.source, "seed": job.seed, "keep_removed": piece.keep_removed, "cut": cut}
    pairs = enumerate(zip(map(str, paths), scores, strict=True))
    yield Phase("keep", [Task(f"{n:05d}", keep_file, {"path": path, "scores": score}) for n, (path, score) in pairs], common)
    return {"rule": piece.classifier.keep.rule}


def score_file(task: Attempt, path: str, settings: ClassifierSettings, model: str) -> None:
    scorer = quality.Scorer(settings, Path(model))
    with ParquetWriter(task.scratch / "scores.parquet", SCORES) as writer:
        for table in read_tables(Path(path)):
            writer.write(pa.table([table["id"], pa.array(scorer.score(table), pa.float32())], schema=SCORES))
    task.publish(writer.path, "scores", writer.num_rows)


def cut_scores(task: Attempt, scores: Sequence[str], fraction: float, seed: int) -> None:
    tables = (pq.read_table(path) for path in scores)
    cut = keeping.find_cut(((table["id"].combine_chunks(), table["score"].to_numpy()) for table in tables), fraction, seed)
    task.record.extra["cut"] = [cut.score, cut.draw]


def keep_file(
    task: Attempt,
    path: str,
    scores: str,
    settings: ClassifierSettings,
    model: str,
    source: str,
    seed: int,
    keep_removed: KeepRemoved,
    cut: Sequence[float] | None,
) -> None:
    """Keep or remove the documents of one file by their scores; the removed name the score they would have needed."""
    rule = quality.Scorer(settings, Path(model)).keep
    sieve = Sieve(task, Path(path), source, seed, keep_removed, carried=[SCORE])
    known = pq.read_table(scores)["score"].to_numpy()
    kept_scores, removed_scores = [], []
    for table in read_tables(Path(path)):
        values = known[sieve.num_rows : sieve.num_rows + table.num_rows]
        decided = keeping.decide(rule, table["id"].combine_chunks(), values, seed, keeping.Cut(*cut) if cut else None)
        rules = pc.if_else(pa.array(decided.mask), None, decided.rule)
        sieve.decide(table, rules, pa.array(values), pa.array(decided.bounds), {SCORE.name: pa.array(values)})
        kept_scores.append(values[decided.mask])
        removed_scores.append(values[~decided.mask])
    sieve.publish()
    task.record.histograms["classify.score"] = {
        "bins": SCORE_BINS,
        "kept": _histogram(kept_scores),
        "removed": _histogram(removed_scores),
    }


def _histogram(parts: Sequence[np.ndarray]) -> list[int]:
    values = np.concatenate(parts) if parts else np.empty(0)
    return [int(count) for count in np.histogram(values, SCORE_BINS)[0]]
