"""GPT-3's features: words hashed as Spark does, and a model that answers as fastText's does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gristmill.classifiers.quality import classifier as quality
from gristmill.classifiers.quality.hashing_tf import (
    HashingTF,
    feature_of,
    open_hashing_tf,
    train_hashing_tf,
)
from gristmill.classifiers.quality.known import KnownWords
from gristmill.classifiers.settings import ClassifierSettings
from gristmill.fasttext_model import label_probabilities
from tests.support.classified import CODE, TEXTS, write_documents

LABELS = ("__label__positive", "__label__negative")
SETTINGS = ClassifierSettings(features="hashing_tf", heldout_fraction=0.25, examples=400)


def test_words_are_hashed_as_spark_does() -> None:
    """pyspark.ml.feature.HashingTF's own example: a, b and c are features 5, 7 and 8 of 10, and b is 5."""
    assert [feature_of(word, 10) for word in "abc"] == [7, 5, 8]
    assert feature_of("é", 1 << 18) == feature_of("é", 1 << 20) % (1 << 18)


def test_a_model_tells_two_kinds_of_lines_and_is_the_same_when_saved(tmp_path: Path) -> None:
    model = train_hashing_tf(["good prose of words"] * 5, ["x = y ( z )"] * 5, LABELS, 1 << 12)
    assert model.score("prose of words") > 0.7 > 0.3 > model.score("y ( z )")
    model.save(tmp_path / "a.bin")
    again = open_hashing_tf(tmp_path / "a.bin")
    line = "prose of something"
    assert label_probabilities(again, line) == label_probabilities(model, line)
    assert sum(p for p, _ in label_probabilities(again, line)) == pytest.approx(1)
    known, lettered, different = KnownWords(again).count(["prose of of never 123"])
    assert (known.tolist(), lettered.tolist(), different.tolist()) == ([3], [4], [2])


def test_the_fit_is_a_minimum() -> None:
    """The gradient of the penalised mean loss vanishes, computed here word by word."""
    good, bad = ["a b", "a c a"], ["b c", "c c d"]
    model = train_hashing_tf(good, bad, LABELS, 1 << 10)
    pulls = [(line, -1 / (1 + np.exp(_margin(model, line))) / 4) for line in good]
    pulls += [(line, 1 / (1 + np.exp(-_margin(model, line))) / 4) for line in bad]
    for word in "abcd":
        place = feature_of(word, 1 << 10)
        gradient = sum(pull * line.split().count(word) for line, pull in pulls) + 1e-4 * model.weights[place]
        assert abs(gradient) < 1e-4


def _margin(model: HashingTF, line: str) -> float:
    p = model.score(line)
    return float(np.log(p / (1 - p)))


def test_prose_is_told_from_code_and_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    prose = write_documents(tmp_path / "prose.parquet", "prose", TEXTS)
    code = write_documents(tmp_path / "code.parquet", "code", CODE)
    reports = [
        quality.train(SETTINGS, {"prose": [prose]}, {"code": [code]}, tmp_path / name, 1) for name in "ab"
    ]
    assert reports[0] == reports[1] and reports[0]["auc"] > 0.95
    files = [(tmp_path / name / quality.MODEL).read_bytes() for name in "ab"]
    assert files[0] == files[1]
    scorer = quality.Scorer(SETTINGS, tmp_path / "a")
    assert scorer.model.model.get_labels() == list(LABELS)
