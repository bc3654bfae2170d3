"""What a quality classifier does, measured on documents it was not trained on: as plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.classifiers.keep import pareto_rate
from gristmill.classifiers.passages import Passage
from gristmill.classifiers.settings import ClassifierSettings

Floats = npt.NDArray[np.float32]
ALPHAS = (1.0, 2.0, 3.0, 5.0, 9.0, 15.0)
THRESHOLDS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
BINS = 20
_PER_DECILE, _EXCERPT_CHARS = 20, 300
_NGRAMS_SHOWN, _NGRAMS_TRIED = 50, 20_000


def quality_report(
    passages: Sequence[Passage],
    labels: npt.NDArray[np.bool_],
    scores: Floats,
    fitted_alpha: float,
    predict: Callable[[list[str]], Any],
    settings: ClassifierSettings,
) -> dict[str, Any]:
    """Describe a classifier on its held-out part; `labels` are true for curated passages."""
    crawled = scores[~labels].astype(np.float64)
    return {
        "heldout": {"positives": int(labels.sum()), "negatives": int((~labels).sum())},
        **measures(labels, scores),
        "fitted_alpha": fitted_alpha,
        "keep_rate_by_alpha": {
            f"{alpha:g}": float(pareto_rate(crawled, alpha).mean()) for alpha in (*ALPHAS, fitted_alpha)
        },
        "keep_rate_by_threshold": {f"{bound:g}": float((crawled >= bound).mean()) for bound in THRESHOLDS},
        "calibration": calibration(labels, scores),
        "histograms": histograms([passage.source for passage in passages], scores),
        "ngrams": telling_ngrams(passages, predict, settings),
        "deciles": deciles(passages, scores),
    }


def measures(labels: npt.NDArray[np.bool_], scores: Floats, bound: float = 0.5) -> dict[str, float]:
    """Precision, recall and F1 at a bound, area under the ROC curve, and Brier's score (mean squared
    error)."""
    from sklearn.metrics import roc_auc_score

    said = scores >= bound
    right = float((said & labels).sum())
    precision = right / max(float(said.sum()), 1.0)
    recall = right / max(float(labels.sum()), 1.0)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-12),
        "auc": float(roc_auc_score(labels, scores)),
        "brier": float(np.mean((scores.astype(np.float64) - labels) ** 2)),
    }


def calibration(labels: npt.NDArray[np.bool_], scores: Floats) -> list[dict[str, float]]:
    """Lay the mean score of each tenth of [0, 1] that holds passages beside the share of them that are
    curated."""
    tenth = np.minimum((scores * 10).astype(np.int64), 9)
    rows = ((scores[tenth == number], labels[tenth == number]) for number in range(10))
    return [
        {"score": float(own.mean(dtype=np.float64)), "curated": float(curated.mean()), "passages": len(own)}
        for own, curated in rows
        if len(own)
    ]


def histograms(sources: Sequence[str], scores: Floats) -> dict[str, list[int]]:
    """Count scores per source in `BINS` equal bins of [0, 1]."""
    names = np.array(sources)
    return {
        name: np.histogram(scores[names == name], bins=BINS, range=(0.0, 1.0))[0].tolist()
        for name in dict.fromkeys(sources)
    }


def deciles(passages: Sequence[Passage], scores: Floats) -> list[dict[str, Any]]:
    """Show passages from each tenth of the scores, lowest tenth first, chosen by hash order."""
    order = np.argsort(scores, kind="stable")
    shown = []
    for number, part in enumerate(np.array_split(order, 10)):
        picks = sorted((passages[index], float(scores[index])) for index in part.tolist())[:_PER_DECILE]
        samples = [
            {
                "id": passage.id.hex(),
                "source": passage.source,
                "score": score,
                "text": passage.text[:_EXCERPT_CHARS],
            }
            for passage, score in picks
        ]
        shown.append({"decile": number + 1, "samples": samples})
    return shown


def telling_ngrams(
    passages: Sequence[Passage], predict: Callable[[list[str]], Any], settings: ClassifierSettings
) -> dict[str, list[dict[str, Any]]]:
    """The words and word pairs that alone score highest and lowest, among the most widely used."""
    used: Counter[str] = Counter()
    for passage in passages:
        words = passage.text.split()
        grams = [*words, *(" ".join(pair) for pair in pairwise(words))] if settings.word_ngrams > 1 else words
        used.update(dict.fromkeys(grams, 1))
    common = sorted(
        (gram for gram, count in used.items() if count >= settings.min_count),
        key=lambda gram: (-used[gram], gram),
    )
    common = common[:_NGRAMS_TRIED]
    scores = predict(common)
    ranked = sorted(zip(np.asarray(scores).tolist(), common, strict=True))
    shown = [{"ngram": gram, "score": score, "passages": used[gram]} for score, gram in ranked]
    return {"bottom": shown[:_NGRAMS_SHOWN], "top": shown[::-1][:_NGRAMS_SHOWN]}
