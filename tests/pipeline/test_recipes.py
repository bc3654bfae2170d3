"""The recipes that come with the package are whole: they validate, and resolve into a plan where their inputs
exist."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.errors import RecipeError
from gristmill.pipeline.recipe.file import make_recipe, read_recipe
from gristmill.pipeline.recipe.plan import build_plan
from tests.support.small_recipe import fixed_inputs

RECIPES = sorted((Path(__file__).resolve().parents[2] / "pipeline" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_of_the_package_resolves_into_a_plan(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("crawl", "wikipedia", "books"):
        (tmp_path / name).mkdir()
    fixed_inputs(tmp_path / "crawl")
    (tmp_path / "wikipedia" / "a.jsonl.gz").write_bytes(b"")
    pq.write_table(pa.table({"content": ["x"]}), tmp_path / "books" / "a.parquet")
    (tmp_path / path.name).write_text(path.read_text())  # a recipe's inputs lie beside it
    plan = build_plan(read_recipe(tmp_path / path.name))
    assert plan.steps[0].name == "extract/web"
    assert json.dumps(plan.recipe)


def test_a_source_that_a_section_names_must_exist() -> None:
    base = {"name": "x", "sources": {"web": {"inputs": "a.warc.gz"}}}
    with pytest.raises(
        RecipeError, match=r"`classify.positives` names the source `wiki`, the recipe has web"
    ):
        make_recipe({**base, "classify": {"positives": ["wiki"], "negatives": ["web"]}})
    with pytest.raises(RecipeError, match="`mix` needs a `tokenizer` section"):
        make_recipe({**base, "mix": {}})
    with pytest.raises(RecipeError, match="`train` needs a `mix` section"):
        make_recipe({**base, "train": {}})
    with pytest.raises(RecipeError, match=r"proportions sum to 0\.9, not 1"):
        make_recipe({**base, "tokenizer": {}, "mix": {"proportions": {"web": 0.9}}})


def test_a_source_that_there_is_none_of_is_shown_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: x\nsources:\n  web: {inputs: a.warc.gz}\ntokenizer: {}\nmix:\n  proportions:\n    web: .5\n   "
        " wiki: .5\n"
    )
    with pytest.raises(
        RecipeError, match=r"names the source `wiki`, the recipe has web\n  --> .*recipe.yaml:8"
    ):
        read_recipe(path)


def test_secrets_are_redacted_wherever_a_recipe_is_stored() -> None:
    source = {"inputs": "s3://bucket/a.jsonl", "storage_options": {"key": "AKIA", "secret": "hunter2"}}
    recipe = make_recipe({"name": "x", "sources": {"web": source}})
    assert "hunter2" not in json.dumps(recipe.model_dump(mode="json")) and "hunter2" not in repr(recipe)
    assert recipe.sources["web"].storage_options["secret"] == "hunter2"
