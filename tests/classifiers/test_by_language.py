"""Languages are told apart: a model for each of both classes, and a warning for each that neither taught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.classifiers.quality import classifier as quality
from gristmill.classifiers.quality import telling
from gristmill.classifiers.quality.passages import num_passages, sample, sample_bounds, with_passages_below
from gristmill.classifiers.settings import ClassifierSettings
from gristmill.document import DOCUMENT, document_id
from gristmill.files.storage import ParquetWriter

SETTINGS = ClassifierSettings(
    buckets=5_000, heldout_fraction=0.3, by="language", min_language_passages=30, min_count=2
)


def texts(words: str, seed: int, count: int) -> list[str]:
    vocabulary = [f"{words}{letter}{other}" for letter in "abcdefghij" for other in "klmnop"]
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(vocabulary, 60)) for _ in range(count)]


def write(path: Path, parts: dict[str, list[str]]) -> Path:
    rows = [
        {
            "id": document_id(path.name, f"{language}{number}"),
            "source": path.stem,
            "text": text,
            "language": language,
            "origin": {"file": "f", "offset": number, "length": 1},
        }
        for language, own in parts.items()
        for number, text in enumerate(own)
    ]
    with ParquetWriter(path, DOCUMENT) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=DOCUMENT))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """English and German in both classes, French in the curated one alone."""
    folder = tmp_path_factory.mktemp("languages")
    good = write(
        folder / "good.parquet",
        {"en": texts("x", 1, 120), "de": texts("y", 2, 120), "fr": texts("z", 3, 80)},
    )
    bad = write(folder / "bad.parquet", {"en": texts("y", 4, 120), "de": texts("x", 5, 120)})
    report = quality.train(SETTINGS, {"good": [good]}, {"bad": [bad]}, folder / "model", 1)
    return folder, report


def test_each_language_of_both_classes_has_a_model_of_its_own(trained: tuple[Path, dict[str, Any]]) -> None:
    """What is curated in English is crawled in German: one model of all cannot tell, two can."""
    folder, report = trained
    assert {path.name for path in (folder / "model").glob("*.bin")} == {
        "model.bin",
        "model.de.bin",
        "model.en.bin",
    }
    assert report["auc"] < 0.9 and all(own["auc"] > 0.95 for own in report["languages"].values())
    scorer = quality.Scorer(SETTINGS, folder / "model")
    good, bad = (pq.read_table(folder / f"{name}.parquet") for name in ("good", "bad"))
    for language in ("en", "de"):
        means = [
            float(np.nanmean(scorer.score(table.filter(pa.compute.equal(table["language"], language)))))
            for table in (good, bad)
        ]
        assert means[0] > 0.8 and means[1] < 0.2


def test_a_language_that_one_class_did_not_teach_is_warned_of(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, report = trained
    assert report["taught"]["language"]["fr"]["passages"][1] == 0
    scorer = quality.Scorer(SETTINGS, folder / "model")
    assert [language for language in ("en", "de", "fr", "zz", "") if scorer.untaught(language)] == [
        "fr",
        "zz",
        "",
    ]
    groups = telling.Groups()
    table = pq.read_table(folder / "good.parquet")
    scores = scorer.score(table)
    groups.add(table, scores > 0.5, scores)
    (warning,) = telling.warnings(groups.facts(), scorer)
    assert "fr (80)" in warning and "en" not in warning.partition(":")[2].partition(";")[0]
    counted = groups.facts()["language"]
    assert {language: row["documents"] for language, row in counted.items()} == {
        "de": 120,
        "en": 120,
        "fr": 80,
    }


def test_a_language_is_sampled_for_itself(tmp_path: Path) -> None:
    """Of a large language few documents are passed on, of a small one all that are needed."""
    path = write(tmp_path / "all.parquet", {"en": texts("x", 1, 900), "de": texts("y", 2, 60)})
    settings = SETTINGS.model_copy(update={"examples": 50})
    table = pq.read_table(path)
    bounds = sample_bounds(settings, num_passages(table, settings, 1), 1)
    passed = with_passages_below(table, settings, 1, bounds)
    pq.write_table(passed, tmp_path / "some.parquet")
    assert passed.num_rows < 800
    for language in ("en", "de"):
        both = [
            sample({"all": [tmp_path / name]}, settings, 1, 0.0, heldout=False, quota=50, language=language)
            for name in ("all.parquet", "some.parquet")
        ]
        assert both[0] == both[1] and len(both[0]) > 35
