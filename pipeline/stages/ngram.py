"""Count an n-gram language model by map and reduce, and measure it on the held-out documents of every
source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gristmill.classifiers import ngrams
from gristmill.classifiers.perplexity import NgramModel, Tally
from gristmill.classifiers.settings import NgramSettings
from gristmill.errors import InputError
from gristmill.hashing import canonical_json
from gristmill.heldout import only_heldout
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.dedup import files, over_parts, passed_on
from gristmill.storage import read_tables

HELDOUT = "heldout.json"


def train(job: Job) -> Stage:
    """Count runs of n-grams per file, merge them per range of keys, and pack one table; held-out documents
    are not read."""
    piece = job.settings
    common = {"settings": piece.model, "heldout_fraction": piece.heldout_fraction, "seed": job.seed}
    documents = [path for source in piece.sources for path in job.paths("documents", source)]
    counted = yield over_paths("count", count_file, documents, **common)
    num_words = sum(record.counts["words"] for record in counted)
    if not num_words:
        raise InputError(
            f"there are no words to count n-grams of in {', '.join(piece.sources)}",
            hint="see with `gristmill status` what removed their documents",
        )
    parts = -(-sum(record.counts["records"] for record in counted) // ngrams.PART_RECORDS)
    merged = yield over_parts(
        "merge", merge_part, parts, settings=piece.model, runs=files(job, counted, "ngram-run")
    )
    arguments = {"settings": piece.model, "merged": files(job, merged, "ngram-range"), "num_words": num_words}
    yield Phase("table", [Task("model", write_model, arguments)])
    facts = {name: sum(record.counts[name] for record in merged) for name in ("ngrams", "kept")}
    return {"words": num_words, **facts, **passed_on(job, counted, merged)}


def count_file(task: Attempt, path: str, settings: NgramSettings, heldout_fraction: float, seed: int) -> None:
    counted = ngrams.count_file(settings, Path(path), task.scratch, seed, heldout_fraction)
    task.record.counts = {"words": counted.num_words, "records": counted.num_records}
    for run in counted.runs:
        task.publish(run, "ngram-run")


def merge_part(task: Attempt, part: int, parts: int, settings: NgramSettings, runs: Sequence[str]) -> None:
    out = task.scratch / "range.run"
    task.record.counts = ngrams.merge_runs(settings, [Path(run) for run in runs], part, parts, out)
    task.publish(out, "ngram-range", task.record.counts["kept"])


def write_model(task: Attempt, settings: NgramSettings, merged: Sequence[str], num_words: int) -> None:
    folder = task.scratch / "model"
    ngrams.write_table(settings, [Path(path) for path in merged], folder, num_words)
    for name in (ngrams.KEYS, ngrams.CODES, ngrams.CARD):
        task.publish(folder / name, "ngram-model", name=f"model/{name}")


def heldout(job: Job) -> Stage:
    """Score the documents that nothing was trained on, per source; `heldout.json` has the transformer's rows
    for the same ones."""
    piece = job.settings
    common = {"model": str(model_folder(job)), "heldout_fraction": piece.heldout_fraction, "seed": job.seed}
    documents = [(source, path) for source in piece.sources for path in job.paths("documents", source)]
    scored = yield over_paths("score", score_heldout, [path for _, path in documents], **common)
    totals = {source: Tally() for source in piece.sources}
    for (source, _), record in zip(documents, scored, strict=True):
        part, total = record.extra["tally"], totals[source]
        totals[source] = Tally(**{name: value + part[name] for name, value in asdict(total).items()})
    rows = [total.row(source) for source, total in totals.items() if total.docs]
    yield Phase("write", [Task("rows", write_rows, {"rows": rows})])
    return {"heldout": rows}


def model_folder(job: Job) -> Path:
    """The folder of the model that a step of this run made."""
    return job.paths("ngram-model")[0].parent


def score_heldout(task: Attempt, path: str, model: str, heldout_fraction: float, seed: int) -> None:
    tally, opened = Tally(), NgramModel(Path(model))
    for table in read_tables(Path(path)):
        tally.add(opened, only_heldout(table, seed, heldout_fraction))
    task.record.extra["tally"] = asdict(tally)


def write_rows(task: Attempt, rows: Sequence[dict[str, object]]) -> None:
    path = task.scratch / HELDOUT
    path.write_bytes(canonical_json(list(rows)) + b"\n")
    task.publish(path, "ngram-heldout", len(rows), name=HELDOUT)
