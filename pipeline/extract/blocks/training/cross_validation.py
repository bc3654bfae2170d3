"""Measure the extractor on pages of domains it has not seen: each fold is extracted by a model fitted to the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.classifier import Model
from gristmill.pipeline.extract.blocks.columns import IS_COPY
from gristmill.pipeline.extract.blocks.cut import choose
from gristmill.pipeline.extract.blocks.features import measure
from gristmill.pipeline.extract.blocks.rendering import plain_text
from gristmill.pipeline.extract.blocks.training.fit import fit, fold_of
from gristmill.pipeline.extract.blocks.training.page import LabelledPage
from gristmill.pipeline.extract.blocks.training.scores import count_snippets, score

NUM_FOLDS = 5
_CALIBRATION_BINS = 10


class PageScore(NamedTuple):
    """One page: F1, precision and recall against full gold; of snippets F1 alone, and its weight in the F1 over all snippets."""

    page: LabelledPage
    f1: float
    precision: float = float("nan")
    recall: float = float("nan")
    weight: int = 1


class Calibration(NamedTuple):
    """Words by predicted probability: in each bin the mean prediction, the mean label and the number of words."""

    predicted: list[float]
    labelled: list[float]
    words: list[int]


def judge(page: LabelledPage, text: str) -> PageScore:
    """Score a text against a page's gold."""
    if page.kind == "full":
        return PageScore(page, *score(text, page.gold))
    found = count_snippets(text, page.wanted, page.unwanted)
    return PageScore(page, found.f1, weight=found.weight)


def apply(page: LabelledPage, model: Model, recall_weight: float = 1.0) -> tuple[str, npt.NDArray[np.float32]]:
    """Return the text a model extracts from a labelled page, and its blocks' probabilities."""
    x = measure(page.html, page.blocks, page.elements, page.tokens, page.words, page.marks, *model.tables)
    probabilities = model.probabilities(x)
    kept = choose(probabilities, page.blocks, x[:, IS_COPY], recall_weight)
    return plain_text(page.text, page.blocks, page.elements, kept).tobytes().decode(), probabilities


def cross_validate(
    pages: Sequence[LabelledPage], say: Callable[[str], None] = lambda line: None
) -> tuple[list[PageScore], Calibration]:
    """Score every page by a model that saw no page of its registered domain."""
    scores: dict[int, PageScore] = {}
    sums = np.zeros((3, _CALIBRATION_BINS))
    for fold in range(NUM_FOLDS):
        model = fit([page for page in pages if fold_of(page, "cross-validation", NUM_FOLDS) != fold])
        for i, page in enumerate(pages):
            if fold_of(page, "cross-validation", NUM_FOLDS) != fold:
                continue
            text, probabilities = apply(page, model)
            scores[i] = judge(page, text)
            if page.kind == "full":
                bins = np.minimum((probabilities * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
                words = page.blocks[:, L.WORDS].astype(np.float64)
                for row, weights in enumerate((probabilities * words, page.labels * words, words)):
                    sums[row] += np.bincount(bins, weights, minlength=_CALIBRATION_BINS)
        done = [one.f1 for one in scores.values() if one.page.kind == "full"]
        say(f"fold {fold + 1} of {NUM_FOLDS}: F1 {np.mean(done):.4f} over {len(done)} pages so far")
    predicted, labelled = (sums[:2] / np.maximum(sums[2], 1)).round(4).tolist()
    calibration = Calibration(predicted, labelled, sums[2].astype(int).tolist())
    return [scores[i] for i in range(len(pages))], calibration
