"""Fit the tables of log-odds and the trees to labelled pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.hashing import digest16
from gristmill.pipeline.extract.blocks.classifier import BlockModel
from gristmill.pipeline.extract.blocks.features import measure
from gristmill.pipeline.extract.blocks.training.export import export
from gristmill.pipeline.extract.blocks.training.odds import NO_WORDS, Odds, learn_name_odds, learn_word_odds
from gristmill.pipeline.extract.blocks.training.page import LabelledPage

NUM_ROUNDS = 180
INNER_FOLDS = 4
PARAMETERS: dict[str, Any] = {
    "objective": "cross_entropy",  # labels are shares
    "num_leaves": 31,
    "max_depth": 10,
    "learning_rate": 0.07,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.35,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "use_missing": False,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 7,
    "verbose": -1,
}


def fold_of(page: LabelledPage, purpose: str, num_folds: int) -> int:
    """Return a page's fold, the same for all pages of a registered domain."""
    return int.from_bytes(digest16(purpose, page.domain)[:8], "little") % num_folds


def features_of(page: LabelledPage, names: Odds, words: Odds) -> npt.NDArray[np.float32]:
    """Measure a labelled page's blocks under given tables."""
    x: npt.NDArray[np.float32] = measure(
        page.html, page.blocks, page.elements, page.tokens, page.words, page.tokenized.marks,
        names.keys, names.values, words.keys, words.values,
    )  # fmt: skip
    return x[:, : len(page.blocks)].T


def _learn_odds(pages: Sequence[LabelledPage], with_words: bool) -> tuple[Odds, Odds]:
    """Learn the table of names from pages with full gold, that of words from silver ones too, or leave it
    empty."""
    names = learn_name_odds([page for page in pages if page.kind == "full"])
    return names, (
        learn_word_odds([page for page in pages if page.kind != "snippets"]) if with_words else NO_WORDS
    )


def fit(pages: Sequence[LabelledPage], num_rounds: int = NUM_ROUNDS, with_words: bool = True) -> BlockModel:
    """Fit a model to labelled pages; without words it knows no language.

    The trees see each training page under tables learned from other domains, as they will see new pages; the
    model carries the tables learned from all of them.
    """
    import lightgbm

    x: list[npt.NDArray[np.float32]] = [np.empty((0, 0), dtype=np.float32)] * len(pages)
    inner = [fold_of(page, "tables", INNER_FOLDS) for page in pages]
    for fold in range(INNER_FOLDS):
        names, words = _learn_odds(
            [page for page, own in zip(pages, inner, strict=True) if own != fold], with_words
        )
        for i, page in enumerate(pages):
            if inner[i] == fold:
                x[i] = features_of(page, names, words)[page.weights > 0]
    labels = np.concatenate([page.labels[page.weights > 0] for page in pages])
    weights = np.concatenate([page.weights[page.weights > 0] for page in pages])
    data = lightgbm.Dataset(np.concatenate(x), labels, weight=weights / weights.mean())
    booster = lightgbm.train(PARAMETERS, data, num_rounds)
    return export(booster.dump_model(), *_learn_odds(pages, with_words))
