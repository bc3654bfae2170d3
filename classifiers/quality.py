"""The quality classifier: GPT-3's, appendix A, as a fastText model that gives the same bytes when trained
twice.

How a stage calls this:

    report = train(settings, {"wiki": [Path("a.parquet")]}, {"web": [Path("b.parquet")]}, folder, seed=1)
    scorer = Scorer(settings, folder)                   # folder holds model.bin and card.json
    scores = scorer.score(table)                        # float32 per document
    kept = keep.decide(scorer.keep, table["id"], scores, seed=1)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.classifiers import calibrate
from gristmill.classifiers.keep import fit_alpha
from gristmill.classifiers.measured import quality_report
from gristmill.classifiers.passages import Passage, Sources, balanced, lines, quotas, sample
from gristmill.classifiers.settings import ClassifierSettings, Keep, Pareto
from gristmill.errors import UsageError

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
) -> dict[str, Any]:
    """Train, calibrate and measure; write `model.bin` and `card.json` into `folder` and return the report.

    `excluded_fraction` is the corpus's held-out split, which is never read. Raises InputError for a class
    without examples.
    """
    model = _train_fasttext(settings, positives, negatives, folder, seed, excluded_fraction)
    quota = quotas(settings)["heldout"]
    heldout = [
        sample(side, settings, seed, excluded_fraction, heldout=True, quota=quota)
        for side in (positives, negatives)
    ]
    good, bad = balanced(*heldout)
    passages = [*good, *bad]
    labels = np.arange(len(passages)) < len(good)
    raw = _predict(model, [passage.text for passage in passages], {POSITIVE: 1.0})
    calibration = calibrate.fit(settings.calibration, raw, labels)
    scores = calibrate.apply(calibration, raw)
    alpha = fit_alpha(scores[~labels].astype(np.float64), scores[labels].astype(np.float64))
    _write_card(folder, {"label_weights": {POSITIVE: 1.0}, "calibration": calibration, "fitted_alpha": alpha})
    return quality_report(
        passages, labels, scores, alpha, lambda texts: _predict(model, texts, {POSITIVE: 1.0}), settings
    )


def _train_fasttext(
    settings: ClassifierSettings,
    positives: Sources,
    negatives: Sources,
    folder: Path,
    seed: int,
    excluded: float,
) -> Any:
    quota = quotas(settings)["training"]
    good, bad = balanced(
        *(
            sample(side, settings, seed, excluded, heldout=False, quota=quota)
            for side in (positives, negatives)
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    examples = folder / "examples.txt"
    labelled = sorted(
        [*((_place(p), p.text, POSITIVE) for p in good), *((_place(p), p.text, NEGATIVE) for p in bad)]
    )
    with examples.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(f"{label} {text}\n" for _, text, label in labelled)
    model = _fasttext().train_supervised(
        input=str(examples),
        dim=settings.dim,
        epoch=settings.epoch,
        lr=settings.learning_rate,
        wordNgrams=settings.word_ngrams,
        bucket=settings.buckets,
        minCount=settings.min_count,
        seed=seed % (1 << 31),
        thread=1,  # two threads race on the same weights, and no two runs agree
        verbose=0,
    )
    examples.unlink()
    model.save_model(str(folder / MODEL))
    return model


def _place(passage: Passage) -> int:
    """A passage's place in the training file. Not its order in the sample: what is trimmed there all has a
    high order."""
    return passage.order * 0x9E3779B97F4A7C15 % (1 << 64)


class Scorer:
    """A classifier opened for scoring: trained by `train` (a folder), or any fastText model by path."""

    def __init__(self, settings: ClassifierSettings, place: Path) -> None:
        self.settings = settings
        path = place / MODEL if place.is_dir() else place
        if not path.is_file():
            raise UsageError(
                f"there is no classifier at `{path}`", hint="train one with `gristmill classify train`"
            )
        try:
            self.model = _fasttext().load_model(str(path))
        except ValueError as error:
            raise UsageError(f"`{path}` is not a fastText model: {error}") from error
        card = json.loads((place / CARD).read_text()) if place.is_dir() else {}
        self.calibration: dict[str, Any] = card.get("calibration", {"kind": "none"})
        self.fitted_alpha: float | None = card.get("fitted_alpha")
        self.weights = card.get("label_weights") or settings.label_weights or {"__label__hq": 1.0}
        unknown = [label for label in self.weights if label not in self.model.get_labels()]
        if unknown:
            raise UsageError(
                f"the classifier has no label {unknown[0]!r}, it has"
                f" {', '.join(self.model.get_labels()[:8])}",
                where=str(path),
                hint="set `classify.classifier.label_weights`",
            )

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

    def score(self, documents: pa.Table) -> npt.NDArray[np.float32]:
        """Score every document: calibrated, in [0, 1] for a trained model; a document without text scores as
        empty."""
        raw = _predict(self.model, lines(documents["text"].to_pylist(), self.settings), self.weights)
        return calibrate.apply(self.calibration, raw)


def _predict(model: Any, texts: list[str], weights: dict[str, float]) -> Floats:
    """Sum the weighted probabilities of labels, line by line.

    Not `model.predict`: given a list and k > 1, fasttext-wheel 0.9.2 repeats the first label's probability
    for all labels, and given a string it raises under NumPy 2.
    """
    return np.array(
        [
            sum(weights.get(label, 0.0) * p for p, label in model.f.predict(text + "\n", -1, 0.0, "replace"))
            for text in texts
        ]
    )


def _write_card(folder: Path, card: dict[str, Any]) -> None:
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def _fasttext() -> Any:
    import fasttext

    fasttext.FastText.eprint = lambda *_: None  # load_model prints a note on stderr
    return fasttext
