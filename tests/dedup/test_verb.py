from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gristmill.errors import UsageError
from gristmill.pipeline.verbs.stages.dedup import register
from tests.support.made_texts import page


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


def test_the_verb_deduplicates_plain_files_and_then_against_their_index(
    tmp_path: Path, app: typer.Typer
) -> None:
    words = page(1)
    first = write(
        tmp_path / "one.jsonl", [" ".join(words), " ".join([*words, "more"]), "  same page ", "same page"]
    )
    quiet = ["--engine", "inline", "--quiet", "--json"]
    done = CliRunner().invoke(app, ["dedup", first, "--out", str(tmp_path / "one"), "--index", *quiet])
    assert done.exit_code == 0, done.output
    steps = {row["step"]: row for row in json.loads(done.stdout)["steps"]}
    assert (steps["dedup-exact"]["kept"], steps["dedup-fuzzy"]["kept"]) == (3, 2)
    second = write(tmp_path / "two.jsonl", [" ".join(["Well,", *words]), " ".join(page(2))])
    against = ["--against", str(tmp_path / "one"), "--stages", "fuzzy"]
    done = CliRunner().invoke(app, ["dedup", second, "--out", str(tmp_path / "two"), *against, *quiet])
    assert done.exit_code == 0, done.output
    steps = {row["step"]: row for row in json.loads(done.stdout)["steps"]}
    assert steps["dedup-fuzzy"]["by_rule"] == {"dedup.fuzzy": 1}


def test_every_stage_can_be_asked_for_by_name(tmp_path: Path, app: typer.Typer) -> None:
    path = write(
        tmp_path / "in.jsonl",
        ["One says this. Two says that. Three is quiet.\nA footer.", "Another page.\nA footer."],
    )
    quiz = write(tmp_path / "quiz.jsonl", [" ".join(page(5, 20))])
    stages = [
        "--stages",
        "url,exact,fuzzy,semantic,lines,paragraphs,spans,substring,passages",
        "--decontaminate",
        quiz,
    ]
    done = CliRunner().invoke(
        app,
        ["dedup", path, "--out", str(tmp_path / "out"), *stages, "--engine", "inline", "--quiet", "--json"],
    )
    assert done.exit_code == 0, done.output
    names = [row["step"].removeprefix("dedup-") for row in json.loads(done.stdout)["steps"]][1:]
    cuts = ["lines", "paragraphs", "spans", "substring", "passages"]
    assert names == ["url", "exact", "fuzzy", "semantic", *cuts, "decontaminate"]


def test_an_unknown_stage_and_an_index_without_fuzzy_are_refused(tmp_path: Path, app: typer.Typer) -> None:
    path = write(tmp_path / "in.jsonl", ["x"])
    with pytest.raises(UsageError, match="no stage `fuzy`"):
        CliRunner().invoke(app, ["dedup", path, "--stages", "fuzy"], catch_exceptions=False)
    with pytest.raises(UsageError, match="are of near duplicates"):
        CliRunner().invoke(app, ["dedup", path, "--stages", "exact", "--index"], catch_exceptions=False)
