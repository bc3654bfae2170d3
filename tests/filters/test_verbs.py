"""`gristmill filter`, `recut` and `url-list` on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.errors import UsageError
from gristmill.pipeline.cli import main
from gristmill.pipeline.run.folder import finished_steps

FIVE = "One two three four five."


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filtered")
    texts = [f"Menu\n{FIVE}\n{FIVE} {number}.\n{FIVE} Again {number}." for number in range(5)] + [FIVE]
    (folder / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    arguments = ["--preset", "c4-code", "--out", str(folder / "kept"), "--engine", "inline", "-q"]
    assert call("filter", str(folder / "in.jsonl"), *arguments) == 0
    return folder


def documents(run: Path) -> dict[str, str]:
    found = sorted(run.glob("steps/filter*/**/documents-*.parquet"))
    return {str(number): path.read_bytes().hex() for number, path in enumerate(found)}


def test_a_recut_writes_the_bytes_that_a_run_with_the_new_bound_writes(
    filtered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = "c4-code.sentences.min=1"
    said = ("--engine", "inline", "-q", "--json")
    assert (
        call("recut", str(filtered / "kept"), "--set", change, "--out", str(tmp_path / "recut"), *said) == 0
    )
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert (step["in"], step["kept"]) == (6, 6)
    arguments = [
        "--preset",
        "c4-code",
        "--set",
        f"filter.set.{change}",
        "--out",
        str(tmp_path / "run"),
        *said,
    ]
    assert call("filter", str(filtered / "in.jsonl"), *arguments) == 0
    assert documents(tmp_path / "recut") == documents(tmp_path / "run") != documents(filtered / "kept")
    facts = [finished_steps(tmp_path / name)["filter/input"].extra for name in ("recut", "run")]
    assert facts[0]["bounds"] == facts[1]["bounds"]  # what `why` and `report` judge signals by


def test_a_recut_that_needs_the_text_is_refused_before_anything_is_written(
    filtered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call(
            "recut", str(filtered / "kept"), "--set", "c4-code.end_mark=false", "--out", str(tmp_path / "no")
        )
        == UsageError.exit_code
    )
    said = capsys.readouterr().err
    assert (
        "`c4-code.end_mark` changes what is measured or edited" in said
        and "needs a run of the filter stage" in said
    )
    assert not (tmp_path / "no").exists()


def test_what_was_only_measured_is_decided_by_a_recut(
    filtered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ("--preset", "length", "--set", "filter.set.length.words.min=10", "--engine", "inline", "-q")
    for name, annotate in (("measured", "true"), ("run", "false")):
        arguments = (*said, "--set", f"filter.annotate={annotate}", "--out", str(tmp_path / name))
        assert call("filter", str(filtered / "in.jsonl"), *arguments) == 0
    decided = (str(tmp_path / "measured"), "--set", "filter.annotate=false", "--out", str(tmp_path / "recut"))
    assert call("recut", *decided, "--engine", "inline", "-q") == 0
    assert documents(tmp_path / "recut") == documents(tmp_path / "run") != documents(tmp_path / "measured")


def test_options_beside_a_recipe_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "web.yaml").write_text("name: web\n")
    assert call("filter", str(tmp_path / "web.yaml"), "--preset", "gopher") == UsageError.exit_code
    said = capsys.readouterr().err
    assert "`--preset` is for plain files" in said and "--set" in said


def test_filtering_by_nothing_is_refused(
    filtered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("filter", str(filtered / "in.jsonl"), "--out", str(tmp_path / "no")) == UsageError.exit_code
    assert "--preset" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", ["c4-code.sentenses.min=1", "c4-code.sentences.min", "c4-code.sentences.min=few"]
)
def test_an_override_that_means_nothing_is_a_usage_error(filtered: Path, tmp_path: Path, change: str) -> None:
    assert (
        call("recut", str(filtered / "kept"), "--set", change, "--out", str(tmp_path / "no"))
        == UsageError.exit_code
    )


def test_a_list_of_domains_is_compiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.txt").write_text("bad.example\nworse.example\n")
    assert call("url-list", str(tmp_path / "d.txt"), "--out", str(tmp_path / "d.u64")) == 0
    assert capsys.readouterr().out.startswith("2 domains in ")
    assert call("url-list", str(tmp_path / "d.txt"), "--out", str(tmp_path / "d.bin")) == UsageError.exit_code


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        (["length.words.min=8"], {"filter-2/a": 10}),
        (["filter.set.length.words.min=8"], {"filter-2/a": 10}),
        (["filter.language.min_score=0.01"], {"filter/a": 20}),
        (["length.words.min=8", "filter.language.min_score=0.01"], {"filter/a": 20, "filter-2/a": 10}),
        ([], {"filter/a": 20, "filter-2/a": 20}),
    ],
)
def test_a_recut_of_a_run_that_filters_twice_decides_the_steps_that_have_what_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], steps: dict[str, int]
) -> None:
    texts = [" ".join(["The river runs to the sea."] * (1 if n % 2 else 2)) + f" {n}" for n in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    recipe = {
        "name": "twice",
        "sources": {"a": {"inputs": str(tmp_path / "in.jsonl")}},
        "stages": [
            {"filter": {"language": {"keep": ["en"], "min_score": 0}}},
            {"filter": {"presets": ["length"]}},
        ],
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    said = ("--engine", "inline", "-q")
    assert call("run", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "out"), *said) == 0
    capsys.readouterr()
    options = [word for change in changes for word in ("--set", change)]
    again = ("recut", str(tmp_path / "out"), *options, "--out", str(tmp_path / "again"), *said, "--json")
    assert call(*again) == 0
    told = {step["step"]: step["kept"] for step in json.loads(capsys.readouterr().out)["steps"]}
    assert told == steps


def test_a_recut_of_what_no_filter_has_is_refused(filtered: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["recut", str(filtered / "kept"), "--set", "gopher.words.min=1", "--out", str(tmp_path / "no")])
    assert not (tmp_path / "no").exists()
