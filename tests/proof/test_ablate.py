"""Ablations over small texts: shared steps, planted truth, what is refused, and what a second call runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gristmill.errors import RecipeError, UsageError
from gristmill.pipeline.cli import app, register
from gristmill.pipeline.proof.ablation import Asked, measure, plan_of
from gristmill.pipeline.proof.merging import merge
from gristmill.pipeline.proof.texts import Amount
from gristmill.pipeline.proof.variants import read_variants
from gristmill.pipeline.proof.verdict import decide
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings
from tests.support import planted, small_recipe

INLINE = EngineSettings(kind="inline", retries=0)
AMOUNT = Amount(40, 800)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.write_planted(tmp_path_factory.mktemp("planted"))


def swapped(path: Path, name: str) -> str:
    return f"{name}: sources.text.inputs=[{json.dumps(str(path.parent / f'{name}.jsonl'))}]"


@pytest.fixture(scope="module")
def proxied(recipe: Path) -> dict[str, Any]:
    """The proxies of four variants, as the verb prints them."""
    return ablated(
        recipe, "--placebo", "--vary", swapped(recipe, "bad"), "--vary", swapped(recipe, "repeated")
    )


def ablated(recipe: Path, *said: str, train: bool = False) -> dict[str, Any]:
    if not app.registered_commands:
        register()
    arguments = ["--target", f"prose={recipe.parent / 'target.jsonl'}", "--engine", "inline", "--json"]
    arguments += ["--documents", "40", "--document-bytes", "800", "--out", str(recipe.parent / "out"), *said]
    arguments += [] if train else ["--no-train"]
    done = CliRunner().invoke(app, ["ablate", str(recipe), *arguments])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_planted_differences_are_told_and_a_placebo_is_within_noise(
    proxied: dict[str, Any], recipe: Path
) -> None:
    cells = proxied["measures"]["n-gram"]["targets"]["prose"]["variants"]
    told = {name: cell["difference"] and cell["difference"]["told"] for name, cell in cells.items()}
    assert told == {"recipe": None, "bad": "worse", "repeated": "worse", "placebo": "within noise"}
    assert all(cells[name]["difference"]["low"] > 0 for name in ("bad", "repeated"))
    page = (recipe.parent / "out" / "ablation.html").read_text()
    assert "is told apart" in page and "Differences: n-gram" in page


def test_a_second_call_with_one_more_variant_runs_only_that(recipe: Path, proxied: dict[str, Any]) -> None:
    out = recipe.parent / "out"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("records/*/*.json")}
    more = ("--vary", "short: mix.tokens=15000")
    again = ablated(
        recipe, "--placebo", "--vary", swapped(recipe, "bad"), "--vary", swapped(recipe, "repeated"), *more
    )
    after = {path: path.stat().st_mtime_ns for path in out.rglob("records/*/*.json")}
    assert before.items() <= after.items()
    new = {path.parent.parent.parent.name.partition("-@")[0] for path in after.keys() - before.keys()}
    assert new == {"mix", "trials"}
    cells = "measures", "n-gram", "targets", "prose", "variants", "bad", "per_seed"
    first: Any = proxied
    second: Any = again
    for key in cells:
        first, second = first[key], second[key]
    assert first == second


def test_variants_share_the_steps_they_have_in_common(tmp_path: Path) -> None:
    path = small_recipe.write_recipe(tmp_path)
    variants = read_variants(
        path, vary=["strict: filter.presets=[gopher]"], without=["dedup.fuzzy", "filter.presets.c4-code"]
    )
    merged = merge(variants)
    steps = {step.name: step for step in merged.plan.steps}
    assert merged.names["recipe"] == {name: name for name in merged.names["recipe"]}
    assert merged.names["without dedup.fuzzy"]["dedup-exact"] == "dedup-exact"
    assert merged.names["strict"]["filter/web"] != "filter/web"
    # Two ways to say the same are the same steps.
    assert merged.names["strict"] == merged.names["without filter.presets.c4-code"]
    assert {steps[names["encode/web"]].inputs[1] for names in merged.names.values()} == {"tokenizer"}
    alone = merge(read_variants(path, without=["dedup.fuzzy"]))
    assert alone.names["without dedup.fuzzy"] == merged.names["without dedup.fuzzy"]


def test_a_grid_multiplies_and_files_are_variants(recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(recipe.read_text().replace("good.jsonl", str(recipe.parent / "good.jsonl")))
    found = read_variants(recipe, grid=["shard_bytes=[1000, 2000]", "mix.shard_tokens=[5, 6]"], files=[other])
    assert [one.name for one in found][1:] == [
        "shard_bytes=1000, mix.shard_tokens=5",
        "shard_bytes=1000, mix.shard_tokens=6",
        "shard_bytes=2000, mix.shard_tokens=5",
        "shard_bytes=2000, mix.shard_tokens=6",
        "other",
    ]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"vary": ["shard_bytes"]}, "must have the form"),
        ({"vary": ["a: shard_bytes=1", "a: shard_bytes=2"]}, "two variants are named `a`"),
        ({"without": ["dedup.fuzzy"]}, "the recipe has no `dedup.fuzzy`"),
        ({"grid": ["shard_bytes=3"]}, "needs a list"),
        ({"vary": ["nowhere.at=1"]}, "unknown key"),
    ],
)
def test_what_is_no_variant_is_refused(recipe: Path, said: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, RecipeError), match=message):
        read_variants(recipe, **said)


@pytest.mark.parametrize("change", ["tokenizer.vocab_size=600", "seed=6"])
def test_variants_of_another_tokenizer_or_seed_are_refused(recipe: Path, change: str) -> None:
    with pytest.raises(UsageError, match="the variant `other` has another"):
        merge(read_variants(recipe, vary=[f"other: {change}"]))


def test_a_target_that_is_trained_on_is_refused_or_left_out(recipe: Path, tmp_path: Path) -> None:
    variants = read_variants(recipe)
    good = str(recipe.parent / "good.jsonl")
    with pytest.raises(UsageError, match="which the variant `recipe` trains on"):
        plan_of(variants, Asked(targets={"prose": [good]}))
    target = tmp_path / "leaky.jsonl"
    leaked = planted.paragraphs()[1:30:4]
    planted.write_rows(target, [*planted.paragraphs()[::4][:20], *leaked])
    asked = Asked(targets={"prose": [str(target)]}, seeds=2, train=False, amount=AMOUNT)
    outcome = measure(variants, asked, recipe.parent / "leaky", INLINE, Progress(quiet=True))
    verdict = decide(outcome)
    assert 1 <= verdict.leaked < 20  # held-out documents are no training documents
    assert verdict.tables["n-gram"].documents["prose"] == 20 + len(leaked) - verdict.leaked


def test_costs_are_said_before_anything_runs(recipe: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["ablate", str(recipe), "--vary", "shard_bytes=1000", "--tokens", "1M", "--cost", "--out", "nowhere"],
    )
    assert done.exit_code == 0 and not Path("nowhere").exists()
    assert "2 variants of 10 steps in all; 8 distinct ones, 0 done, 8 to run" in done.output
    assert "6 trainings, 0 done, 6 to run" in done.output


@pytest.mark.slow
def test_trained_models_tell_shuffled_words_and_a_killed_call_goes_on(recipe: Path) -> None:
    said = ("--vary", swapped(recipe, "bad"), "--seeds", "2", "--tokens", "30k", "--no-proxies")
    found = ablated(recipe, *said, train=True)
    assert found["measures"]["trained"]["targets"]["prose"]["variants"]["bad"]["difference"]["low"] > 0
    runs = recipe.parent / "out" / "trials" / "records" / "train"
    before = {path: path.stat().st_mtime_ns for path in runs.iterdir()}
    assert ablated(recipe, *said, train=True) == found
    assert {path: path.stat().st_mtime_ns for path in runs.iterdir()} == before


def test_an_override_may_hold_a_longer_list_than_the_file(tmp_path: Path) -> None:
    path = small_recipe.write_recipe(tmp_path, filter={"presets": []})
    _, longer = read_variants(path, vary=["both: filter.presets=[gopher, c4-code]"])
    assert longer.recipe.filter.presets == ("gopher", "c4-code")  # type: ignore[attr-defined]
