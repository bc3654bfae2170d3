"""The recipes that come with the package are whole: they validate, and resolve into a plan where their inputs
exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.errors import InputError, RecipeError
from gristmill.pipeline.recipe.about import Need, needs_of
from gristmill.pipeline.recipe.file import make_recipe, read_recipe
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.recipe.shipped import shipped, shipped_recipe
from tests.support.recipe_inputs import lay_out
from tests.support.small_recipe import pages, write_warc

RECIPES = [own.name for own in shipped()]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "pages.warc.gz"
    write_warc(path, pages([("page", "A page of a few words, none of which is of interest. " * 20)]))
    return path


def one_row(source: str) -> list[dict[str, str]]:
    return [{"id": f"{source}:1", "text": f"A text of {source}.", "url": f"http://{source}.example/1"}]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_the_package_resolves_into_a_plan(name: str, tmp_path: Path, archive: Path) -> None:
    recipe = read_recipe(lay_out(name, tmp_path, [archive], one_row))
    assert needs_of(recipe) == [
        Need(str(tmp_path / path), what, True) for path, what in shipped_recipe(name).about.needs.items()
    ]
    plan = build_plan(recipe)
    assert plan.steps[0].name.startswith("extract/")
    assert json.dumps(plan.recipe)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_the_package_says_whose_it_is_and_what_is_missing(name: str, tmp_path: Path) -> None:
    own = shipped_recipe(name)
    assert own.about.summary and len(own.about.summary) <= 120
    if not own.about.source:
        return  # one to start from
    assert own.about.published
    assert all("http" in what or "rows with" in what or "table" in what for what in own.about.needs.values())
    path = tmp_path / own.path.name
    path.write_text(own.text)
    with pytest.raises(InputError) as failed:
        build_plan(read_recipe(path))
    for need, what in own.about.needs.items():
        assert f"{tmp_path / need}: {what}" in str(failed.value)


def test_a_need_whose_setting_is_taken_away_is_no_need(tmp_path: Path) -> None:
    recipe = read_recipe_with(tmp_path, "wordlists: [{lists: {en: bad.txt}}]")
    assert [need.path for need in needs_of(recipe)] == [str(tmp_path / "bad.txt")]
    assert not needs_of(read_recipe_with(tmp_path, "presets: [gopher]"))


def read_recipe_with(folder: Path, filters: str) -> Recipe:
    (folder / "a.yaml").write_text(
        "name: a\nabout: {needs: {bad.txt: a list}}\nsources: {web: {inputs: a.jsonl}}\n"
        f"filter: {{{filters}}}\n"
    )
    return read_recipe(folder / "a.yaml")


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
