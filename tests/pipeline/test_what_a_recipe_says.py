"""What a recipe says is what is done: sections on and off, numbers, keys given twice, what errors name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gristmill.errors import RecipeError, UsageError
from gristmill.overrides import nested, parse_scalar, parse_value
from gristmill.pipeline.recipe.file import make_recipe, read_recipe
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.trainer.command import with_settings

BASE = "name: x\nsources: {a: {inputs: a.jsonl}}\n"


def read(folder: Path, text: str, *overrides: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(BASE + text)
    return read_recipe(path, overrides)


def refused(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read(folder, text, *overrides)
    return str(caught.value)


@pytest.mark.parametrize("said", ["", "{}", "true", "on"])
def test_a_section_with_nothing_behind_its_colon_is_on_with_its_defaults(tmp_path: Path, said: str) -> None:
    recipe = read(tmp_path, f"dedup:\n  exact: {said}\n  fuzzy: {said}\nfilter:\n  pii: {said}\n")
    assert list(recipe.dedup.stages) == ["exact", "fuzzy"] and recipe.filter.pii is not None


@pytest.mark.parametrize("said", ["off", "false", "no", "null", "~"])
def test_a_section_that_is_off_is_absent(tmp_path: Path, said: str) -> None:
    recipe = read(tmp_path, f"dedup:\n  exact: {{}}\n  fuzzy: {said}\n")
    assert list(recipe.dedup.stages) == ["exact"]
    assert list(read(tmp_path, "dedup: {exact: {}, fuzzy: {}}\n", f"dedup.fuzzy={said}").dedup.stages) == [
        "exact"
    ]


def test_a_key_given_twice_is_an_error_with_both_lines(tmp_path: Path) -> None:
    message = refused(tmp_path, "seed: 1\ndedup: {}\nseed: 2\n")
    assert "the key `seed` stands on line 3 and again on line 5" in message


@pytest.mark.parametrize(
    ("said", "number"),
    [
        *[("3M", 3_000_000), ("8k", 8000), ("5e6", 5_000_000), ("32Mi", 1 << 25), ("1_000", 1000)],
        *[(".5M", 500_000), ("1_000k", 1_000_000), ("2.k", 2000)],
    ],
)
def test_counts_are_numbers_where_a_number_is_meant(tmp_path: Path, said: str, number: int) -> None:
    assert read(tmp_path, f"shard_bytes: {said}\n").shard_bytes == number
    assert read(tmp_path, "", f"shard_bytes={said}").shard_bytes == number


@pytest.mark.parametrize("said", ["1__0", "1_", "true", "9" * 5000, "3m", "nan"])
def test_what_is_no_count_is_refused(tmp_path: Path, said: str) -> None:
    assert "`shard_bytes`" in refused(tmp_path, f"shard_bytes: {said}\n")
    assert "--set shard_bytes" in refused(tmp_path, "", f"shard_bytes={said}")
    assert "`limits.quarantined_shards`" in refused(tmp_path, f"limits: {{quarantined_shards: {said}}}\n")


@pytest.mark.parametrize("option", ["filter.rules.0.x=1", "filter.rules[0].x=1", "sources.[a].inputs=b"])
def test_an_option_below_what_does_not_fit_is_named(tmp_path: Path, option: str) -> None:
    assert f"--> --set {option}" in refused(tmp_path, "", option)


def test_a_word_stays_a_word_where_a_word_is_meant(tmp_path: Path) -> None:
    recipe = read(tmp_path, "filter: {language: {keep: [no, en]}}\n")  # YAML 1.1 reads `no` as false
    assert recipe.filter.language.keep == ("no", "en")


@pytest.mark.parametrize(
    ("said", "value"),
    [
        *[("3e-4", 3e-4), ("1e3", 1000.0), (".5", 0.5), ("012", 12), ("0x1F", 31), ("-.inf", float("-inf"))],
        *[("true", True), ("yes", "yes"), ("off", "off"), ("~", None), ("", None), ("a: b", "a: b")],
    ],
)
def test_scalars_are_those_of_yaml_1_2(said: str, value: object) -> None:
    """Section 10.3.2 of the specification, Tag Resolution."""
    assert parse_scalar(said) == value and type(parse_scalar(said)) is type(value)


def test_the_trainer_and_recipes_read_settings_alike() -> None:
    said = ["optimizer.lr=3e-4", "model.preset=llama-15m", 'sources.a.inputs=["x", "y"]', "steps=10"]
    assert with_settings({}, said) == nested(said)
    assert nested(said)["optimizer"]["lr"] == 3e-4
    assert parse_value("[a, b]", "--set x=[a, b]") == ["a", "b"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("sources.a.int=3", "unknown key `sources.a.int`"),
        ("dedup.list=3", "unknown key `dedup.list`"),
        ("dedup.x[0]=3", "unknown key `dedup.x[0]`"),
        ("filter.dict=1", "unknown key `filter.dict`"),
        ("shard_bytes=many", "`shard_bytes`: input should be a valid integer"),
    ],
)
def test_a_message_about_an_override_names_the_override(tmp_path: Path, override: str, told: str) -> None:
    message = refused(tmp_path, "", override)
    assert told in message and f"--> --set {override}" in message


def test_an_override_that_fits_nothing_says_so() -> None:
    with pytest.raises(UsageError, match=r"`--set a.5=x`: the list has 1 entries, from 0, and no `5`"):
        nested(["a=[1]", "a.5=x"])
    with pytest.raises(UsageError, match=r"`--set model.size=1`: `model` is 'llama', no section"):
        nested(["model=llama", "model.size=1"])
    with pytest.raises(UsageError, match=r"must have the form `a.b=value`"):
        nested(["lr"])
    with pytest.raises(UsageError, match=r"`--set a=\[1` cannot be read"):
        nested(["a=[1"])


def test_a_language_by_its_name_is_refused_with_its_code() -> None:
    with pytest.raises(RecipeError, match=r"`english` is no language code.*did you mean `en`"):
        make_recipe(
            {
                "name": "x",
                "sources": {"a": {"inputs": ["a"]}},
                "filter": {"language": {"keep": ["english"]}},
            }
        )
    with pytest.raises(RecipeError, match=r"put it in quotes: `\"no\"`"):
        make_recipe(
            {"name": "x", "sources": {"a": {"inputs": ["a"]}}, "filter": {"language": {"keep": [False]}}}
        )


@pytest.mark.parametrize(
    ("code", "told"),
    [
        *[("jp", "did you mean `ja`?"), ("cz", "did you mean `cs`?"), ("ua", "did you mean `uk`?")],
        *[("xx", "no language code"), ("und", "no language code"), ("EN", "no language code")],
        *[("english", "did you mean `en`?"), ("true", "no language code"), ("false", '`"no"`')],
    ],
)
def test_a_code_of_no_language_is_refused_wherever_languages_are_named(
    tmp_path: Path, code: str, told: str
) -> None:
    assert told in refused(tmp_path, f"filter: {{language: {{keep: [en, {code}]}}}}\n")
    assert told in refused(tmp_path, f"extract: {{html_languages: [{code}]}}\n")
    assert told in refused(tmp_path, f"filter: {{presets: [gopher], by_language: {{{code}: {{}}}}}}\n")


def test_every_code_that_a_detector_tells_is_taken(tmp_path: Path) -> None:
    codes = ["no", "iw", "heb_Hebr", "zh-Hant", "sr-Latn", "ceb", "eng", "kr", "fil", "jw"]
    read(tmp_path, f"filter: {{language: {{keep: {codes}}}}}\n")
    assert read(tmp_path, "extract: {html_languages: [eng, iw]}\n").extract.html_languages == ["en", "he"]
    assert "not for a script" in refused(tmp_path, "extract: {html_languages: [zh-Hant]}\n")


def test_what_a_section_with_nothing_behind_its_colon_lacks_is_named(tmp_path: Path) -> None:
    assert "`filter.language.keep` is required" in refused(tmp_path, "filter:\n  language:\n")


@pytest.mark.parametrize(
    ("column", "sections", "step"),
    [
        ("cluster_size", {"dedup": {"exact": {}}}, "dedup-exact"),
        ("cluster_id", {"tokenizer": {"vocab_size": 300}}, "encode/a"),
        ("quality_score", {"classify": {"positives": ["b"], "negatives": ["a"]}}, "classify"),
        ("licence", {"rights": {}}, "rights/a"),
    ],
)
def test_a_column_of_rows_is_not_lost_for_one_that_a_step_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, sections: dict[str, object], step: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        Path(f"{name}.jsonl").write_text('{"text": "some words"}\n')
    sources: dict[str, dict[str, object]] = {name: {"inputs": [f"{name}.jsonl"]} for name in "ab"}
    sources["a"]["passthrough"] = {column: "string"}
    with pytest.raises(RecipeError) as refused:
        build_plan(make_recipe({"name": "taken", "sources": sources, **sections}))
    assert f"`passthrough` of `a` names `{column}`, and the step `{step}" in str(refused.value)
    del sources["a"]["passthrough"]
    assert build_plan(make_recipe({"name": "taken", "sources": sources, **sections})).steps
