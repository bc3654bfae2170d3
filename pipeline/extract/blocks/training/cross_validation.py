"""Measure the extractor on pages of domains it has not seen: each fold is extracted by a model fitted to the
others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks.training.apply import apply
from gristmill.pipeline.extract.blocks.training.fit import fit, fold_of
from gristmill.pipeline.extract.blocks.training.page import LabelledPage
from gristmill.pipeline.extract.blocks.training.scores import count_snippets, score
from gristmill.pipeline.extract.blocks.training.silver import Agreement, agreeing, agrees, fit_structure

NUM_FOLDS = 5
_CALIBRATION_BINS = 10


class PageScore(NamedTuple):
    """One page: F1, precision and recall against full gold; of snippets F1 alone, and its weight in the F1
    over all snippets."""

    page: LabelledPage
    f1: float
    precision: float = float("nan")
    recall: float = float("nan")
    weight: int = 1


class Calibration(NamedTuple):
    """Words by predicted probability: in each bin the mean prediction, the mean label and the number of
    words."""

    predicted: list[float]
    labelled: list[float]
    words: list[int]


def judge(page: LabelledPage, text: str) -> PageScore:
    """Score a text against a page's gold."""
    if page.kind == "full":
        return PageScore(page, *score(text, page.gold))
    found = count_snippets(text, page.wanted, page.unwanted)
    return PageScore(page, found.f1, weight=found.weight)


class Judgement(NamedTuple):
    """What cross-validation found: a score for each page, that of each page with full gold without the
    headline rule, the calibration, and the agreement on each silver candidate."""

    scores: list[PageScore]
    without_headline: list[PageScore]
    calibration: Calibration
    agreements: list[Agreement]


def cross_validate(
    pages: Sequence[LabelledPage],
    candidates: Sequence[LabelledPage] = (),
    learn: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Judgement:
    """Score every page by a model that saw no page of its registered domain; that of candidates, it may
    `learn` from silver."""
    scores: dict[int, PageScore] = {}
    plain: dict[int, PageScore] = {}
    agreements: list[Agreement] = []
    sums = np.zeros((3, _CALIBRATION_BINS))
    for fold in range(NUM_FOLDS):
        seen, _ = _split(pages, fold)
        known, unseen = _split(candidates, fold)
        silver: list[LabelledPage] = []
        if candidates:
            structure = fit_structure(seen)
            silver = agreeing(known, structure) if learn else []
        model = fit([*seen, *silver])
        for page in unseen:
            agreements.append(
                Agreement(page.language, agrees(page, structure), score(apply(page, model)[0], page.gold).f1)
            )
        for i, page in enumerate(pages):
            if _fold(page) != fold:
                continue
            text, probabilities = apply(page, model)
            scores[i] = judge(page, text)
            if page.kind == "full":
                plain[i] = judge(page, apply(page, model, with_headline=False)[0])
                bins = np.minimum((probabilities * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
                words = page.blocks[:, L.WORDS].astype(np.float64)
                for row, weights in enumerate((probabilities * words, page.labels * words, words)):
                    sums[row] += np.bincount(bins, weights, minlength=_CALIBRATION_BINS)
        done = [one.f1 for one in scores.values() if one.page.kind == "full"]
        say(f"fold {fold + 1} of {NUM_FOLDS}: F1 {np.mean(done):.4f} over {len(done)} pages so far")
    predicted, labelled = (sums[:2] / np.maximum(sums[2], 1)).round(4).tolist()
    calibration = Calibration(predicted, labelled, sums[2].astype(int).tolist())
    each = [scores[i] for i in range(len(pages))]
    return Judgement(each, [plain[i] for i in sorted(plain)], calibration, agreements)


def _fold(page: LabelledPage) -> int:
    return fold_of(page, "cross-validation", NUM_FOLDS)


def _split(pages: Sequence[LabelledPage], fold: int) -> tuple[list[LabelledPage], list[LabelledPage]]:
    """Return the pages outside a fold and those in it."""
    return [page for page in pages if _fold(page) != fold], [page for page in pages if _fold(page) == fold]
