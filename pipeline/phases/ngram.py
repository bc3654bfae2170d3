"""Count an n-gram language model by map and reduce, and measure it on the held-out documents of every
source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gristmill.classifiers import ngrams
from gristmill.classifiers.perplexity import NgramModel, Tally
from gristmill.errors import InputError
from gristmill.hashing import canonical_json
from gristmill.heldout import only_heldout
from gristmill.pipeline.phases.shuffle import files, over_parts, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.ngram import NgramHeldoutSlice, NgramScoreSlice, NgramTrainSlice
from gristmill.storage import read_tables

HELDOUT = "heldout.json"


def train(job: Job[NgramTrainSlice]) -> Stage:
    """Count runs of n-grams per file, merge them per range of keys, and pack one table; held-out documents
    are not read."""
    piece = job.settings
    documents = [path for source in piece.sources for path in job.paths("documents", source)]
    counted = yield over_paths("count", count_file, documents)
    num_words = sum(record.counts["words"] for record in counted)
    if not num_words:
        raise InputError(
            f"there are no words to count n-grams of in {', '.join(piece.sources)}",
            hint="see with `gristmill status` what removed their documents",
        )
    parts = -(-sum(record.counts["records"] for record in counted) // ngrams.PART_RECORDS)
    merged = yield over_parts("merge", merge_part, parts, runs=files(job, counted, "ngram-run"))
    arguments = {"merged": files(job, merged, "ngram-range"), "num_words": num_words}
    yield Phase("table", [Task("model", write_model, arguments)])
    facts = {name: sum(record.counts[name] for record in merged) for name in ("ngrams", "kept")}
    return {"words": num_words, **facts, **passed_on(job, counted, merged)}


def count_file(task: Attempt[NgramTrainSlice], path: str) -> None:
    piece = task.settings
    counted = ngrams.count_file(piece.model, Path(path), task.scratch, task.seed, piece.heldout_fraction)
    task.record.counts = {"words": counted.num_words, "records": counted.num_records}
    for run in counted.runs:
        task.publish(run, "ngram-run")


def merge_part(task: Attempt[NgramTrainSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    out = task.scratch / "range.run"
    task.record.counts = ngrams.merge_runs(task.settings.model, [Path(run) for run in runs], part, parts, out)
    task.publish(out, "ngram-range", task.record.counts["kept"])


def write_model(task: Attempt[NgramTrainSlice], merged: Sequence[str], num_words: int) -> None:
    folder = task.scratch / "model"
    ngrams.write_table(task.settings.model, [Path(path) for path in merged], folder, num_words)
    for name in (ngrams.KEYS, ngrams.CODES, ngrams.CARD):
        task.publish(folder / name, "ngram-model", name=f"model/{name}")


def heldout(job: Job[NgramHeldoutSlice]) -> Stage:
    """Score the documents that nothing was trained on, per source; `heldout.json` has the transformer's rows
    for the same ones."""
    piece = job.settings
    documents = [(source, path) for source in piece.sources for path in job.paths("documents", source)]
    scored = yield over_paths(
        "score", score_heldout, [path for _, path in documents], model=str(model_folder(job))
    )
    totals = {source: Tally() for source in piece.sources}
    for (source, _), record in zip(documents, scored, strict=True):
        part, total = record.extra["tally"], totals[source]
        totals[source] = Tally(**{name: value + part[name] for name, value in asdict(total).items()})
    rows = [total.row(source) for source, total in totals.items() if total.docs]
    yield Phase("write", [Task("rows", write_rows, {"rows": rows})])
    return {"heldout": rows}


def model_folder(job: Job[NgramHeldoutSlice] | Job[NgramScoreSlice]) -> Path:
    """The folder of the model that a step of this run made."""
    return job.paths("ngram-model")[0].parent


def score_heldout(task: Attempt[NgramHeldoutSlice], path: str, model: str) -> None:
    tally, opened = Tally(), NgramModel(Path(model))
    for table in read_tables(Path(path)):
        tally.add(opened, only_heldout(table, task.seed, task.settings.heldout_fraction))
    task.record.extra["tally"] = asdict(tally)


def write_rows(task: Attempt[NgramHeldoutSlice], rows: Sequence[dict[str, object]]) -> None:
    path = task.scratch / HELDOUT
    path.write_bytes(canonical_json(list(rows)) + b"\n")
    task.publish(path, "ngram-heldout", len(rows), name=HELDOUT)
