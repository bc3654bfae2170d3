from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from gristmill.errors import RecipeError, UsageError
from gristmill.pipeline.recipe.file import load
from gristmill.yaml12 import BoundedLoader, Yaml12Loader


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gopher(_Model):
    max_symbol_fraction: float = Field(0.1, ge=0, le=1)


class Source(_Model):
    inputs: list[str] = Field(min_length=1)
    filter: bool | Gopher = True


class Recipe(_Model):
    name: str
    workers: int | None = None
    filters: dict[str, Gopher] = {}
    sources: dict[str, Source] = {}


def error(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "web.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load(path, Recipe, overrides)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_a_value_beyond_its_bound_is_shown_with_line_and_hint(tmp_path: Path) -> None:
    text = "name: web\nfilters:\n  gopher:\n    max_symbol_fraction: 10\n"
    assert (
        error(tmp_path, text) == "`filters.gopher.max_symbol_fraction` must be at most 1.0, got 10\n"
        "  --> web.yaml:4\nhint: it is a fraction; did you mean 0.10?"
    )


def test_an_unknown_key_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    text = "name: web\nfilters:\n  gopher:\n    max_symbol_fractoin: 0.1\n"
    assert (
        error(tmp_path, text)
        == "unknown key `filters.gopher.max_symbol_fractoin`\n  --> web.yaml:4\nhint: did you mean"
        " `max_symbol_fraction`?"
    )
    assert error(tmp_path, "name: web\nsource: {}\n").endswith(
        "--> web.yaml:2\nhint: did you mean `sources`?"
    )


def test_a_missing_key_and_a_wrong_type_name_their_place(tmp_path: Path) -> None:
    assert error(tmp_path, "filters: {}\n") == "`name` is required\n  --> web.yaml:1"
    assert error(tmp_path, "name: web\nworkers: many\n").startswith(
        "`workers`: input should be a valid integer"
    )
    assert error(tmp_path, "name: web\nworkers: many\n").endswith("got 'many'\n  --> web.yaml:2")


def test_a_mistake_on_the_command_line_names_the_option(tmp_path: Path) -> None:
    text = "name: web\nfilters: {gopher: {}}\n"
    assert (
        error(tmp_path, text, "filters.gopher.max_symbol_fraction=-1")
        == "`filters.gopher.max_symbol_fraction` must be at least 0.0, got -1\n  --> --set"
        " filters.gopher.max_symbol_fraction=-1"
    )
    with pytest.raises(UsageError, match="must have the form"):
        load(tmp_path / "web.yaml", Recipe, ["workers"])


def test_an_override_reaches_into_lists_and_makes_sections(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("name: web\nsources:\n  a: {inputs: [x, y]}\n")
    recipe = load(
        tmp_path / "web.yaml", Recipe, ["sources.a.inputs.1=z", "filters.gopher.max_symbol_fraction=0.5"]
    )
    assert recipe.sources["a"].inputs == ["x", "z"]
    assert recipe.filters["gopher"].max_symbol_fraction == 0.5


def test_a_recipe_that_is_not_there_or_no_yaml_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recipe at"):
        load(tmp_path / "none.yaml", Recipe)
    assert "is not valid YAML" in error(tmp_path, "name: [web\n")
    assert "must hold a mapping of settings, got list" in error(tmp_path, "- name\n")


ALIASES = "\n".join(
    ["    k0: &k0 [x, x, x, x, x, x, x, x, x]"]
    + [f"    k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]" for n in range(1, 10)]
)
ENDLESS = {
    "aliases of aliases": (
        f"sources: {{a: {{inputs: a.jsonl}}}}\nabout:\n  x:\n{ALIASES}\n",
        "its aliases make",
    ),
    "an alias of itself": ("sources: &s {a: {inputs: a.jsonl}, b: *s}\n", "line 2 is part of itself"),
    "lists without end": ("sources: " + "[" * 5000, "nested too deep"),
    "mappings without end": ("sources: " + "{a: " * 3000 + "1" + "}" * 3000, "nested too deep"),
    "a hundred levels": ("sources: " + "[" * 120 + "]" * 120, "nested deeper than 100 levels"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_recipe_without_end_is_refused_by_its_line(tmp_path: Path, name: str) -> None:
    text, said = ENDLESS[name]
    (tmp_path / "r.yaml").write_text(f"name: a\n{text}")
    with pytest.raises(RecipeError, match=said) as caught:
        load(tmp_path / "r.yaml", Recipe)
    assert str(caught.value.where).startswith(f"{tmp_path / 'r.yaml'}:")


def test_aliases_within_reason_are_read() -> None:
    text = "a: &a {b: [1, 2]}\nc: [*a, *a]\nd: {<<: *a, e: 3}\n"
    assert yaml.load(text, Yaml12Loader) == {
        "a": {"b": [1, 2]}, "c": [{"b": [1, 2]}] * 2, "d": {"b": [1, 2], "e": 3}
    }  # fmt: skip
    with pytest.raises(yaml.YAMLError, match="too deep"):
        yaml.load("[" * 5000, BoundedLoader)
