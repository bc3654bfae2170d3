"""Count an n-gram language model by map and reduce, and measure it on the held-out documents of every
source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gristmill.classifiers.ngram import counting as ngrams
from gristmill.classifiers.ngram import kneser_ney
from gristmill.classifiers.ngram.perplexity import NgramModel, Tally
from gristmill.errors import InputError
from gristmill.facts import Counts, Facts
from gristmill.files.storage import read_tables
from gristmill.hashing import canonical_json
from gristmill.heldout import only_heldout
from gristmill.pipeline.phases.shuffle import files, over_parts, passed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task, over_paths
from gristmill.pipeline.stages.ngram import (
    NgramHeldoutFacts,
    NgramHeldoutSlice,
    NgramScoreSlice,
    NgramTrainFacts,
    NgramTrainSlice,
)

HELDOUT = "heldout.json"
_GRAM_RECORDS = 3  # a record of Kneser-Ney takes the memory of so many


@dataclass(frozen=True, slots=True)
class Counted(Counts):
    """A file's words, and the records of n-grams written of it."""

    words: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class Languages(Facts):
    """Words by language."""

    languages: dict[str, int]


@dataclass(frozen=True, slots=True)
class Emitted(Counts):
    """A range's n-grams, and the records written of what they stand between."""

    ngrams: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class HeldoutTally(Facts):
    """The fields of a `Tally`."""

    tally: dict[str, Any]


def train(job: Job[NgramTrainSlice]) -> Stage:
    """Count runs of n-grams per file, merge them per range of keys, and pack one table; held-out documents
    are not read."""
    piece = job.settings
    documents = [path for source in piece.sources for path in job.paths("documents", source)]
    counted = yield over_paths("count", count_file, documents)
    num_words = Counted.total(counted).words
    if not num_words:
        raise InputError(
            f"there are no words to count n-grams of in {', '.join(piece.sources)}",
            hint="see with `gristmill status` what removed their documents",
        )
    languages = Counter[str]()
    for record in counted:
        languages.update(record.stated(Languages).languages)
    records = Counted.total(counted).records
    runs = files(job, counted, "ngram-run")
    done = [counted]
    if piece.model.smoothing == "kneser_ney":
        parts = -(-records * _GRAM_RECORDS // ngrams.PART_RECORDS)
        emitted = yield over_parts("emit", emit_part, parts, runs=runs)
        parts = -(-Emitted.total(emitted).records * 2 // ngrams.PART_RECORDS)
        merged = yield over_parts("join", join_part, parts, runs=files(job, emitted, "ngram-stats"))
        done.append(emitted)
    else:
        parts = -(-records // ngrams.PART_RECORDS)
        merged = yield over_parts("merge", merge_part, parts, runs=runs)
    # What discounts are estimated from is counted by order, under names of the estimate's own.
    names = sorted({name for record in merged for name in record.counts} - {"ngrams"})
    facts = {name: sum(record.counts[name] for record in merged) for name in names}
    arguments = {
        "merged": files(job, merged, "ngram-range"),
        "num_words": num_words,
        "languages": dict(sorted(languages.items())),
        "facts": facts,
    }
    yield Phase("table", [Task("model", write_model, arguments)])
    return NgramTrainFacts(
        words=num_words,
        languages=dict(sorted(languages.items())),
        ngrams=Emitted.total(done[-1] if len(done) > 1 else merged).ngrams,
        kept=facts["kept"],
        replaced_files=passed_on(job, *done, merged),
    )


def count_file(task: Attempt[NgramTrainSlice], path: str) -> None:
    piece = task.settings
    count = kneser_ney.count_file if piece.model.smoothing == "kneser_ney" else ngrams.count_file
    counted = count(piece.model, Path(path), task.scratch, task.seed, piece.heldout_fraction)
    task.record.state(
        Counted(counted.num_words, counted.num_records), Languages(dict(sorted(counted.languages.items())))
    )
    for run in counted.runs:
        task.publish(run, "ngram-run")


def merge_part(task: Attempt[NgramTrainSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    out = task.scratch / "range.run"
    counts = ngrams.merge_runs(task.settings.model, [Path(run) for run in runs], part, parts, out)
    task.record.counts = counts
    task.publish(out, "ngram-range", counts["kept"])


def emit_part(task: Attempt[NgramTrainSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    out, paths = task.scratch / "stats.run", [Path(run) for run in runs]
    emitted = Emitted(**kneser_ney.emit(paths, part, parts, task.settings.model.order, out))
    task.record.state(emitted)
    task.publish(out, "ngram-stats", emitted.records)


def join_part(task: Attempt[NgramTrainSlice], part: int, parts: int, runs: Sequence[str]) -> None:
    out, paths = task.scratch / "range.run", [Path(run) for run in runs]
    counts = kneser_ney.join(task.settings.model, paths, part, parts, out)
    task.record.counts = counts
    task.publish(out, "ngram-range", counts["kept"])


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
        part, total = record.stated(HeldoutTally).tally, totals[source]
        totals[source] = Tally(**{name: value + part[name] for name, value in asdict(total).items()})
    rows = [total.row(source) for source, total in totals.items() if total.docs]
    yield Phase("write", [Task("rows", write_rows, {"rows": rows})])
    return NgramHeldoutFacts(rows)


def model_folder(job: Job[NgramHeldoutSlice] | Job[NgramScoreSlice]) -> Path:
    """The folder of the model that a step of this run made."""
    return job.paths("ngram-model")[0].parent


def score_heldout(task: Attempt[NgramHeldoutSlice], path: str, model: str) -> None:
    tally, opened = Tally(), NgramModel(Path(model))
    for table in read_tables(Path(path)):
        tally.add(opened, only_heldout(table, task.seed, task.settings.heldout_fraction))
    task.record.state(HeldoutTally(asdict(tally)))


def write_rows(task: Attempt[NgramHeldoutSlice], rows: Sequence[dict[str, object]]) -> None:
    path = task.scratch / HELDOUT
    path.write_bytes(canonical_json(list(rows)) + b"\n")
    task.publish(path, "ngram-heldout", len(rows), name=HELDOUT)
