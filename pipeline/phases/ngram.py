"""Count an n-gram language model by map and reduce, and measure it on the held-out documents of every
source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from gristmill.classifiers import kneser_ney, ngrams
from gristmill.classifiers.perplexity import NgramModel, Tally
from gristmill.errors import InputError
from gristmill.hashing import canonical_json
from gristmill.heldout import only_heldout
from gristmill.pipeline.phases.shuffle import files, over_parts, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.ngram import NgramHeldoutSlice, NgramScoreSlice, NgramTrainSlice
from gristmill.storage import read_tables

HELDOUT = "heldout.json"
_GRAM_RECORDS = 3  # a record of Kneser-Ney takes the memory of so many


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
    languages = Counter[str]()
    for record in counted:
        languages.update(record.extra["languages"])
    records = sum(record.counts["records"] for record in counted)
    runs = files(job, counted, "ngram-run")
    done = [counted]
    if piece.model.smoothing == "kneser_ney":
        parts = -(-records * _GRAM_RECORDS // ngrams.PART_RECORDS)
        emitted = yield over_parts("emit", emit_part, parts, runs=runs)
        parts = -(-sum(record.counts["records"] for record in emitted) * 2 // ngrams.PART_RECORDS)
        merged = yield over_parts("join", join_part, parts, runs=files(job, emitted, "ngram-stats"))
        done.append(emitted)
    else:
        parts = -(-records // ngrams.PART_RECORDS)
        merged = yield over_parts("merge", merge_part, parts, runs=runs)
    names = sorted({name for record in merged for name in record.counts} - {"ngrams"})
    facts = {name: sum(record.counts[name] for record in merged) for name in names}
    arguments = {
        "merged": files(job, merged, "ngram-range"),
        "num_words": num_words,
        "languages": dict(sorted(languages.items())),
        "facts": facts,
    }
    yield Phase("table", [Task("model", write_model, arguments)])
    return {
        "words": num_words,
        "languages": arguments["languages"],
        "ngrams": sum(record.counts["ngrams"] for record in (done[-1] if len(done) > 1 else merged)),
        "kept": facts["kept"],
        **passed_on(job, *done, merged),
    }


def count_file(task: Attempt[NgramTrainSlice], path: str) -> None:
    piece = task.settings
    count = kneser_ney.count_file if piece.model.smoothing == "kneser_ney" else ngrams.count_file
    counted = count(piece.model, Path(path), task.scratch, task.seed, piece.heldout_fraction)
    task.record.counts = {"words": counted.num_words, "records": counted.num_records}
    task.record.extra["languages"] = dict(sorted(counted.languages.items()))
    for run in counted.runs:
        task.publish(run, "ngram-run")


def merge_part(task: Attempt[NgramTrainSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    out = task.scratch / "range.run"
    task.record.counts = ngrams.merge_runs(task.settings.model, [Path(run) for run in runs], part, parts, out)
    task.publish(out, "ngram-range", task.record.counts["kept"])


def emit_part(task: Attempt[NgramTrainSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    out, paths = task.scratch / "stats.run", [Path(run) for run in runs]
    task.record.counts = kneser_ney.emit(paths, part, parts, task.settings.model.order, out)
    task.publish(out, "ngram-stats", task.record.counts["records"])


def join_part(task: Attempt[NgramTrainSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    out, paths = task.scratch / "range.run", [Path(run) for run in runs]
    task.record.counts = kneser_ney.join(task.settings.model, paths, part, parts, out)
    task.publish(out, "ngram-range", task.record.counts["kept"])


def write_model(
    task: Attempt[NgramTrainSlice],
    merged: Sequence[str],
    num_words: int,
    languages: Mapping[str, int],
    facts: Mapping[str, int],
) -> None:
    settings, folder = task.settings.model, task.scratch / "model"
    paths = [Path(path) for path in merged]
    if settings.smoothing == "kneser_ney":
        kneser_ney.write_table(settings, paths, folder, num_words, languages, facts)
    else:
        ngrams.write_table(settings, paths, folder, num_words, languages)
    for path in sorted(folder.iterdir()):
        task.publish(path, "ngram-model", name=f"model/{path.name}")


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
