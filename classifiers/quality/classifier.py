"""The quality classifier: GPT-3's, appendix A, as a fastText model that gives the same bytes when trained
twice.

How a stage calls this:

    report = train(settings, {"wiki": [Path("a.parquet")]}, {"web": [Path("b.parquet")]}, folder, seed=1)
    scorer = Scorer(settings, folder)                   # folder holds model.bin and card.json
    scored = scorer.measure(table)                      # scores, NaN where too little of a text is known
    kept = keep.decide(scorer.keep, table["id"], scored.scores, seed=1)

With `by: language` the folder also holds a `model.LANGUAGE.bin` for each language that both classes teach.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.classifiers.quality import calibrate
from gristmill.classifiers.quality.fasttext_child import train_supervised
from gristmill.classifiers.quality.hashing_tf import is_hashing_tf, open_hashing_tf, train_hashing_tf
from gristmill.classifiers.quality.keep import fit_alpha
from gristmill.classifiers.quality.known import Counts, KnownWords, too_little
from gristmill.classifiers.quality.lines import lines
from gristmill.classifiers.quality.measured import quality_report
from gristmill.classifiers.quality.parts import large_domains, shingles_of, tally_hosts
from gristmill.classifiers.quality.passages import Large, Passage, Sources
from gristmill.classifiers.quality.teaching import Heldout, Taught, heldout_of, training_of
from gristmill.classifiers.settings import ClassifierSettings, Keep, Pareto
from gristmill.errors import UsageError
from gristmill.fasttext_model import label_probabilities, open_model
from gristmill.files.inside import read_object
from gristmill.files.storage import read_tables

Floats = npt.NDArray[np.float64]

MODEL, CARD = "model.bin", "card.json"
POSITIVE, NEGATIVE = "__label__positive", "__label__negative"


def train(
    settings: ClassifierSettings,
    positives: Sources,
    negatives: Sources,
    folder: Path,
    seed: int,
    excluded_fraction: float = 0.0,
    large: Large | None = None,
) -> dict[str, Any]:
    """Train, calibrate and measure; write `model.bin` and `card.json` into `folder` and return the report.

    `excluded_fraction` is the corpus's held-out split, which is never read. `large` are the domains that are
    split by document, found here if not given. Raises InputError for a class without examples.
    """
    if large is None:
        large = frozenset().union(*(_large_of(side) for side in (positives, negatives)))
    sides = (positives, negatives)
    common = (settings, sides, seed, excluded_fraction, large)
    taught = training_of(*common)
    report, card = _train_one(settings, taught, heldout_of(*common), folder, seed, MODEL)
    report["taught"] = taught.facts()
    report["split_by_document"] = sorted(large)
    card["languages"] = {language: row["passages"] for language, row in report["taught"]["language"].items()}
    if settings.by == "language":
        least = settings.min_language_passages
        for language, passages in card["languages"].items():
            if language and min(passages) >= least:
                mine = training_of(*common, language=language), heldout_of(*common, language=language)
                name = f"model.{language}.bin"
                own_report, own_card = _train_one(settings, *mine, folder, seed, name)
                card.setdefault("models", {})[language] = {**own_card, "file": name}
                report.setdefault("languages", {})[language] = own_report
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    return report


def _large_of(side: Sources) -> frozenset[str]:
    return frozenset(
        name
        for paths in side.values()
        for name in large_domains(tally_hosts(read_tables(path)) for path in paths)
    )


def _train_one(
    settings: ClassifierSettings, taught: Taught, heldout: Heldout, folder: Path, seed: int, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train one model, calibrate it on one half of what is held out, and report on the other."""
    train_model = _train_hashing_tf if settings.features == "hashing_tf" else _train_fasttext
    model = train_model(settings, taught, folder, seed, name)
    vocabulary = KnownWords(model)

    def outputs(passages: Sequence[Passage]) -> Floats:
        return _predict(model, [passage.text for passage in passages], {POSITIVE: 1.0})

    known = shingles_of(passage.text for side in (taught.positives, taught.negatives) for passage in side)
    halves = heldout.prepared(known, lambda texts: too_little(settings, vocabulary.count(texts)))
    fitted, judged = halves.calibration, halves.judgement
    raw = outputs(fitted.passages)
    calibration = calibrate.fit(settings.calibration, raw, fitted.labels)
    scores = calibrate.apply(calibration, raw).astype(np.float64)
    alpha = fit_alpha(scores[~fitted.labels], scores[fitted.labels])
    card = {"label_weights": {POSITIVE: 1.0}, "calibration": calibration, "fitted_alpha": alpha}
    report = quality_report(
        judged.passages,
        judged.labels,
        calibrate.apply(calibration, outputs(judged.passages)),
        alpha,
        lambda texts: _predict(model, texts, {POSITIVE: 1.0}),
        settings,
    )
    return {**report, **halves.facts()}, card


def _train_fasttext(settings: ClassifierSettings, taught: Taught, folder: Path, seed: int, name: str) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    examples = folder / "examples.txt"
    labelled = sorted(
        (_place(passage), passage.text, label)
        for side, label in ((taught.positives, POSITIVE), (taught.negatives, NEGATIVE))
        for passage in side
    )
    with examples.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(f"{label} {text}\n" for _, text, label in labelled)
    arguments = {
        "dim": settings.dim,
        "epoch": settings.epoch,
        "lr": settings.learning_rate,
        "wordNgrams": settings.word_ngrams,
        "bucket": settings.buckets,
        "minCount": settings.min_count,
        "seed": seed % (1 << 31),
        "thread": 1,  # two threads race on the same weights, and no two runs agree
        "verbose": 0,
    }
    train_supervised(examples, folder / name, arguments)
    examples.unlink()
    return open_model(str(folder / name))


def _train_hashing_tf(
    settings: ClassifierSettings, taught: Taught, folder: Path, seed: int, name: str
) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    good, bad = (
        [passage.text for passage in sorted(side, key=lambda passage: (_place(passage), passage.text))]
        for side in (taught.positives, taught.negatives)
    )
    model = train_hashing_tf(good, bad, (POSITIVE, NEGATIVE), settings.num_features)
    model.save(folder / name)
    return open_hashing_tf(folder / name)


def _place(passage: Passage) -> int:
    """A passage's place in the training file. Not its order in the sample: what is trimmed there all has a
    high order."""
    return passage.order * 0x9E3779B97F4A7C15 % (1 << 64)


@dataclass(frozen=True, slots=True)
class Scored:
    """Documents as a classifier sees them: a score is NaN where too little of the text is known."""

    scores: npt.NDArray[np.float32]
    words: Counts


class Scorer:
    """A classifier opened for scoring: trained by `train` (a folder), or any fastText model by path."""

    def __init__(self, settings: ClassifierSettings, place: Path) -> None:
        self.settings = settings
        path = place / MODEL if place.is_dir() else place
        card = read_object(place / CARD) if place.is_dir() and path.is_file() else {}
        self.model = _Opened(path, card, settings.label_weights)
        self.by_language = {
            language: _Opened(place / row["file"], row, None)
            for language, row in card.get("models", {}).items()
        }
        self.fitted_alpha: float | None = card.get("fitted_alpha")
        self.taught: dict[str, list[int]] | None = card.get("languages")

    @property
    def keep(self) -> Keep:
        """The rule of the settings, with a fitted alpha filled in."""
        rule = self.settings.keep
        if isinstance(rule, Pareto) and rule.alpha == "fit":
            if self.fitted_alpha is None:
                raise UsageError(
                    "`alpha: fit` needs a model that gristmill trained", hint="give a number for alpha"
                )
            return Pareto(alpha=self.fitted_alpha)
        return rule

    def measure(self, documents: pa.Table) -> Scored:
        """Score every document: calibrated, in [0, 1]; NaN where too little of it is known."""
        texts = lines(documents["text"].to_pylist(), self.settings)
        num = len(texts)
        words = Counts(*(np.zeros(num, np.int64) for _ in Counts._fields))
        scored = Scored(np.full(num, np.nan, np.float32), words)
        for opened, rows in self._rows_by_model(documents):
            mine = [texts[row] for row in rows]
            counts = opened.vocabulary.count(mine)
            for every, own in zip(words, counts, strict=True):
                every[rows] = own
            enough = np.flatnonzero(~too_little(self.settings, counts))
            raw = _predict(opened.model, [mine[row] for row in enough], opened.weights)
            scored.scores[np.array(rows)[enough]] = calibrate.apply(opened.calibration, raw)
        return scored

    def score(self, documents: pa.Table) -> npt.NDArray[np.float32]:
        """The scores alone, see `measure`."""
        return self.measure(documents).scores

    def untaught(self, language: str) -> bool:
        """Whether this model learned next to nothing of a language from one of its classes; unknown of a
        model made elsewhere."""
        least = self.settings.min_language_passages
        return self.taught is not None and min(self.taught.get(language, [0, 0])) < least

    def _rows_by_model(self, documents: pa.Table) -> list[tuple[_Opened, list[int]]]:
        if not self.by_language or "language" not in documents.schema.names:
            return [(self.model, list(range(documents.num_rows)))] if documents.num_rows else []
        found: dict[str, list[int]] = {}
        for row, language in enumerate(documents["language"].to_pylist()):
            found.setdefault(language if language in self.by_language else "", []).append(row)
        return [(self.by_language.get(name, self.model), rows) for name, rows in sorted(found.items())]


class _Opened:
    """One fastText model with its labels' weights and its calibration."""

    def __init__(self, path: Path, card: Mapping[str, Any], weights: Mapping[str, float] | None) -> None:
        try:
            is_hashed = path.is_file() and is_hashing_tf(path)
            self.model = open_hashing_tf(path) if is_hashed else open_model(str(path))
        except FileNotFoundError:
            raise UsageError(
                f"there is no classifier at `{path}`", hint="train one with `gristmill classify train`"
            ) from None
        except ValueError as error:
            raise UsageError(f"`{path}` is not a fastText model: {error}") from error
        self.calibration: dict[str, Any] = card.get("calibration", {"kind": "none"})
        self.weights = dict(card.get("label_weights") or weights or {"__label__hq": 1.0})
        self.vocabulary = KnownWords(self.model)
        unknown = [label for label in self.weights if label not in self.model.get_labels()]
        if unknown:
            raise UsageError(
                f"the classifier has no label {unknown[0]!r}, it has"
                f" {', '.join(self.model.get_labels()[:8])}",
                where=str(path),
                hint="set `classify.classifier.label_weights`",
            )


def _predict(model: Any, texts: Sequence[str], weights: Mapping[str, float]) -> Floats:
    """Sum the weighted probabilities of labels, line by line, in [0, 1]."""
    return np.array(
        [
            min(sum(weights.get(label, 0.0) * p for p, label in label_probabilities(model, text)), 1.0)
            for text in texts
        ],
        np.float64,
    )
