"""Thresholds by language from reference texts: what they remove of them, what `filter.by_language` makes of
the files, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

from gristmill.errors import UsageError
from gristmill.filters.by_language import read_thresholds
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.thresholds import references, write_thresholds
from gristmill.pipeline.recipe.file import make_recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.runner import run_plan
from tests.support.toy_stage import INLINE, QUIET

TAIL = 0.1


WORDS = {
    "en": "the water that people find in their old house would take them many years and more time",
    "de": "die und der nicht wasser haus menschen werden jahre gefunden wissenschaftlich geschichte von",
    "fr": "les gens trouvent toujours dans la vieille maison une grande porte avec leurs enfants",
}


def write_rows(folder: Path) -> None:
    draw = np.random.default_rng(1)
    rows = []
    for language, words in WORDS.items():
        for n in range(20 if language == "fr" else 150):
            lines = [" ".join(draw.choice(words.split(), 12)) + draw.choice([".", ""]) for _ in range(8)]
            rows.append({"id": f"{language}{n}", "text": "\n".join(lines)})
    (folder / "texts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thresholds")
    write_rows(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    *("analyze", "texts.jsonl", "--thresholds", "configs", "--tail", str(TAIL)),
                    *("--out", "out", "--quiet", "--engine", "inline"),
                ]
            )
    assert ended.value.code == 0
    return folder


def test_each_language_with_enough_documents_has_a_file(analysed: Path) -> None:
    assert sorted(path.name for path in (analysed / "configs").iterdir()) == ["de.yml", "en.yml"]
    one, other = (yaml.safe_load((analysed / "configs" / f"{name}.yml").read_text()) for name in ("en", "de"))
    assert one["max_avg_word_length"] < other["max_avg_word_length"]
    assert set(one["stopwords"]) < set(WORDS["en"].split()) and len(one["stopwords"]) == 15
    assert 0.3 <= one["language_score"] <= 0.9


def failing(values: np.ndarray, side: str, bound: float) -> float:
    return float(np.mean(values > bound if side == "max" else values < bound))


def test_a_threshold_removes_the_tail_of_its_reference_at_most(analysed: Path) -> None:
    found = references(analysed / "out")
    for language in ("en", "de"):
        bounds, _ = read_thresholds(str(analysed / "configs" / f"{language}.yml"))
        by_rule: Mapping[str, list[np.ndarray]] = found[language].values
        for key, bound in bounds.items():
            rule, _, side = key.rpartition(".")
            if rule == "language.score":
                continue
            values = np.concatenate(by_rule[rule])
            both = sum(other.startswith(f"{rule}.") for other in bounds)
            assert failing(values, side, bound) <= TAIL / both
            step = -0.002 if side == "max" else 0.002  # a little tighter, and more go than are asked for
            if len(np.unique(values)) > 100:
                assert failing(values, side, bound + step) > TAIL / both - 0.03


def test_filters_take_the_files_by_language(analysed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(analysed)
    configs = {name: f"configs/{name}.yml" for name in ("en", "de")}
    recipe = {
        "name": "filtered",
        "sources": {"web": {"inputs": "texts.jsonl"}},
        "filter": {
            "presets": ["gopher-repetition", "fineweb", "gopher"],
            "by_language": configs,
            "set": {"gopher.languages": None, "gopher.stop_words": "off"},
        },
    }
    manifests = run_plan(build_plan(make_recipe(recipe)), analysed / "filtered", INLINE, QUIET).manifests
    books = manifests["filter/web"].books
    assert books and 0 < books.by_rule_any["gopher.mean_word_length"] <= TAIL * 300 + 20


def test_filters_that_measure_none_of_the_rules_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path)
    out = str(tmp_path / "out")
    with pytest.raises(SystemExit):
        main(
            [
                "analyze",
                str(tmp_path / "texts.jsonl"),
                "--preset",
                "length",
                "--out",
                out,
                "--quiet",
                "--engine",
                "inline",
            ]
        )
    with pytest.raises(UsageError, match="measure none of the rules that have thresholds by language"):
        write_thresholds(tmp_path / "out", tmp_path / "configs", TAIL)
