"""Options that all verbs spell alike, plans that say what will be done, steps that stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.pipeline.cli import main
from gristmill.pipeline.look.collect import collect
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.phases.mix.mixture import heldout_notes
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.runner import run_plan, states
from gristmill.pipeline.verbs.invoke import load_recipe
from gristmill.tokenize.mixing.plan import Size
from tests.support.toy_stage import INLINE, QUIET

WORDS = "the words of that river and with having water to be under it for the morning as his"


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def lines(path: Path, column: str, num: int = 30) -> Path:
    rows = [{"id": str(n), column: f"{WORDS} number {n}. " * (n % 7 + 3)} for n in range(num)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


VERBS = (
    ("extract",),
    ("filter", "--preset", "gopher"),
    ("dedup",),
    ("coverage",),
    ("tokenize", "train", "--vocab-size", "320"),
    ("ngram", "train"),
)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_every_verb_that_reads_documents_takes_the_name_of_the_text(
    tmp_path: Path, verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "in.jsonl", "content")
    given = ["--out", str(tmp_path / "out"), "--engine", "inline", "-q", "--json"]
    assert call(*verb, str(path), "--text", "content", *given) == 0
    first = json.loads(capsys.readouterr().out)["steps"][0]
    assert (first["in"], first["kept"]) == (30, 30)


def test_a_layout_may_have_its_text_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lines(tmp_path / "in.jsonl", "body")
    given = ["--columns", "fineweb", "--text", "body", "--engine", "inline", "-q", "--json"]
    assert call("extract", str(path), "--out", str(tmp_path / "out"), *given) == 0
    assert json.loads(capsys.readouterr().out)["steps"][0]["kept"] == 30


def test_bounds_are_spelled_alike_for_filter_and_recut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "in.jsonl", "text")
    kept = []
    for number, bound in enumerate(("gopher.words.min=100", "filter.set.gopher.words.min=100")):
        given = ["--set", bound, "--engine", "inline", "-q", "--json"]
        first, again = str(tmp_path / f"filter{number}"), str(tmp_path / f"recut{number}")
        assert call("filter", str(path), "--preset", "gopher", "--out", first, *given) == 0
        assert call("recut", first, "--out", again, *given) == 0
        kept += [json.loads(line)["steps"][-1]["kept"] for line in capsys.readouterr().out.splitlines()]
    assert len(set(kept)) == 1 and 0 < kept[0] < 30


RECIPE = """
name: x
sources: {a: {inputs: a.jsonl}, b: {inputs: b.jsonl}}
dedup: {exact: {}}
tokenizer: {vocab_size: 320}
mix: {proportions: {a: 0.5, b: 0.5}, heldout_fraction: 0.1, tokens: 200}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    lines(folder / "a.jsonl", "text")
    rows = [{"id": str(n), "text": f"prose {n} of a {WORDS} kind {n * n}. " * 8} for n in range(25)]
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(RECIPE)
    run_plan(build_plan(load_recipe(folder / "recipe.yaml")), folder / "out", INLINE, QUIET)
    return folder


CHANGED = "mix.proportions={a: 0.7, b: 0.3}"


def test_a_changed_proportion_trains_the_tokenizer_anew_unless_it_is_frozen(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(corpus / "recipe.yaml"), "--out", str(corpus / "out"), "--set", CHANGED]
    assert call("plan", *given) == 0
    said = capsys.readouterr().out
    assert "tokenizer is trained anew" in said and "`--set tokenizer.freeze=true` keeps" in said
    import shutil

    shutil.copytree(corpus / "out", tmp_path / "out")
    recipe = load_recipe(corpus / "recipe.yaml", [CHANGED, "tokenizer.freeze=true"])
    planned = {state.step.name: state.state for state in states(build_plan(recipe), tmp_path / "out")}
    assert {name for name, state in planned.items() if state == "stale"} == {"mix"}
    result = run_plan(build_plan(recipe), tmp_path / "out", INLINE, QUIET)
    assert (result.ran, result.kept) == (["mix"], ["tokenizer"])
    assert list(verify(tmp_path / "out")) == []
    collect(tmp_path / "out")
    again = run_plan(build_plan(recipe), tmp_path / "out", INLINE, QUIET)
    assert again.ran == []


def test_other_settings_of_a_frozen_tokenizer_train_it_anew(corpus: Path) -> None:
    recipe = load_recipe(corpus / "recipe.yaml", ["tokenizer.vocab_size=384", "tokenizer.freeze=true"])
    planned = {state.step.name: state.state for state in states(build_plan(recipe), corpus / "out")}
    assert planned["tokenizer"] == "stale"


def test_a_run_up_to_an_early_step_leaves_later_ones_to_gc_and_plan(corpus: Path, tmp_path: Path) -> None:
    import shutil

    out = tmp_path / "out"
    shutil.copytree(corpus / "out", out)
    before = set(finished_steps(out))
    run_plan(build_plan(load_recipe(corpus / "recipe.yaml"), "dedup-exact"), out, INLINE, QUIET)
    assert collect(out, dry_run=True) == []
    assert run_plan(build_plan(load_recipe(corpus / "recipe.yaml")), out, INLINE, QUIET).ran == []
    assert set(finished_steps(out)) == before
    changed = load_recipe(corpus / "recipe.yaml", ["mix.tokens=150"])
    run_plan(build_plan(changed), out, INLINE, QUIET)
    (old,) = collect(out)
    assert "/mix-" in old.name


def test_a_dry_run_is_a_plan(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(corpus / "recipe.yaml")
    assert call("plan", recipe, "--out", str(tmp_path / "new")) == 0
    planned = capsys.readouterr().out
    assert call("run", recipe, "--out", str(tmp_path / "new"), "--dry-run") == 0
    assert capsys.readouterr().out == planned
    assert call("dedup", recipe, "--out", str(tmp_path / "new"), "--dry-run") == 0
    assert "mix" not in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_sources_of_which_nothing_is_held_out_are_named() -> None:
    sizes = {
        "train": {"a": Size(25, 1, 1), "b": Size(9, 1, 1), "c": Size(25, 1, 1)},
        "heldout": {"a": Size(0, 0, 0), "b": Size(0, 0, 0), "c": Size(1, 1, 1)},
    }
    (note,) = heldout_notes(0.005, sizes)
    assert note.startswith("`a`: none of 25 documents is held out at `mix.heldout_fraction` 0.005")
    assert heldout_notes(0.0, sizes) == []


def test_a_mixture_is_planned_before_any_work(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = [str(corpus / "recipe.yaml"), "--plan", "--json", "--engine", "inline"]
    assert call("mix", *recipe, "--out", str(tmp_path / "new")) == 0
    before = json.loads(capsys.readouterr().out)
    assert call("mix", *recipe, "--out", str(corpus / "out")) == 0
    after = json.loads(capsys.readouterr().out)
    assert (before["exact"], after["exact"]) == (False, True)
    assert [row["tokens"] for row in before["sources"]] == [row["tokens"] for row in after["sources"]]
    for told, true in zip(before["sources"], after["sources"], strict=True):
        assert 0.8 * true["bytes"] < told["bytes"] < 1.35 * true["bytes"]
    assert not (tmp_path / "new").exists()
