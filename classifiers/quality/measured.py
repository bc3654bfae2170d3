"""What a quality classifier does, on documents that it was neither trained nor calibrated on: as plain
JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.classifiers.quality.intervals import Intervals, calibration_error, share_interval
from gristmill.classifiers.quality.keep import pareto_rate
from gristmill.classifiers.quality.passages import Passage
from gristmill.classifiers.quality.teaching import length_group
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
    """Describe a classifier on passages it has not met; `labels` are true for curated ones.

    Intervals are of 95 %, by bootstrap over what is held out as one: domains, or documents.
    """
    crawled = scores[~labels].astype(np.float64)
    intervals = Intervals([passage.unit for passage in passages])
    error, error_interval = calibration_error(labels, scores, intervals)
    return {
        "heldout": {"positives": int(labels.sum()), "negatives": int((~labels).sum())},
        "units": intervals.num_units,
        **measures(labels, scores),
        "intervals": {
            **intervals.of(lambda rows: measures(labels[rows], scores[rows]), labels),
            "calibration_error": error_interval,
        },
        "calibration_error": error,
        "fitted_alpha": fitted_alpha,
        "keep_rate_by_alpha": {
            f"{alpha:g}": float(pareto_rate(crawled, alpha).mean()) for alpha in (*ALPHAS, fitted_alpha)
        },
        "keep_rate_by_threshold": {f"{bound:g}": float((crawled >= bound).mean()) for bound in THRESHOLDS},
        "calibration": calibration(labels, scores),
        "histograms": histograms([passage.source for passage in passages], scores),
        "groups": groups(passages, labels, scores),
        "ngrams": telling_ngrams(passages, labels, predict, settings),
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


def calibration(labels: npt.NDArray[np.bool_], scores: Floats) -> list[dict[str, Any]]:
    """Lay the mean score of each tenth of [0, 1] that holds passages beside the share of them that are
    curated, with its interval."""
    tenth = np.minimum((scores * 10).astype(np.int64), 9)
    rows = ((scores[tenth == number], labels[tenth == number]) for number in range(10))
    return [
        {
            "score": float(own.mean(dtype=np.float64)),
            "curated": float(curated.mean()),
            "interval": share_interval(int(curated.sum()), len(own)),
            "passages": len(own),
        }
        for own, curated in rows
        if len(own)
    ]


def groups(
    passages: Sequence[Passage], labels: npt.NDArray[np.bool_], scores: Floats
) -> dict[str, dict[str, dict[str, Any]]]:
    """Per language and per length of held-out passages: how many of each class, and their mean scores."""
    names = {
        "language": [passage.language for passage in passages],
        "length": [length_group(len(passage.text)) for passage in passages],
    }
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for what, keys in names.items():
        places = np.array(keys)
        found[what] = {
            key: {
                "passages": [int(side.sum()) for side in sides],
                "mean_score": [
                    float(scores[side].mean(dtype=np.float64)) if side.any() else None for side in sides
                ],
            }
            for key in sorted(set(keys))
            for sides in [((places == key) & labels, (places == key) & ~labels)]
        }
    return found


def _mean(scores: Floats) -> float | None:
    return float(scores.mean(dtype=np.float64)) if len(scores) else None


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
    passages: Sequence[Passage],
    labels: npt.NDArray[np.bool_],
    predict: Callable[[list[str]], Any],
    settings: ClassifierSettings,
) -> dict[str, list[dict[str, Any]]]:
    """The words and word pairs that alone score highest and lowest, and that do stand more often in passages
    of the class they speak for.

    A word that the model took up by chance, which held-out passages of the other class use as much, speaks
    for nothing, and neither does one on the other side of even odds.
    """
    used: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for passage, is_curated in zip(passages, labels.tolist(), strict=True):
        words = passage.text.split()
        grams = [*words, *(" ".join(pair) for pair in pairwise(words))] if settings.word_ngrams > 1 else words
        used[0 if is_curated else 1].update(dict.fromkeys(grams, 1))
    total = used[0] + used[1]
    common = sorted(
        (gram for gram, count in total.items() if count >= settings.min_count),
        key=lambda gram: (-total[gram], gram),
    )
    common = common[:_NGRAMS_TRIED]
    scores = np.asarray(predict(common)).tolist()
    shown = {}
    for key, (mine, others), sign in (("bottom", used[::-1], -1), ("top", used, 1)):
        ranked = sorted(
            (-sign * score, gram)
            for score, gram in zip(scores, common, strict=True)
            if sign * (score - 0.5) > 0 and mine[gram] > others[gram]
        )
        shown[key] = [
            {
                "ngram": gram,
                "score": abs(score),
                "passages": total[gram],
                "curated": used[0][gram],
                "crawled": used[1][gram],
            }
            for score, gram in ranked[:_NGRAMS_SHOWN]
        ]
    return shown
