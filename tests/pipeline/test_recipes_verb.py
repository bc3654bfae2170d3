"""`gristmill recipes`: the recipes of the package are listed, shown and copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.pipeline.cli import main
from gristmill.pipeline.recipe.shipped import shipped
from tests.pipeline.test_recipes import one_row
from tests.support.recipe_inputs import lay_out
from tests.support.small_recipe import pages, write_warc


def gristmill(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


def test_recipes_are_listed_with_a_line_what_was_published_and_what_they_need(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gristmill("recipes") == 0
    printed = " ".join(capsys.readouterr().out.split())
    for own in shipped():
        assert f"{own.name} {own.about.summary}" in printed
        assert own.about.published in printed and all(need in printed for need in own.about.needs)
    assert gristmill("recipes", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == [own.name for own in shipped()]


def test_a_recipe_is_shown_and_copied_but_not_over_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gristmill("recipes", "show", "FineWeb") == 0
    shown = capsys.readouterr().out
    assert gristmill("recipes", "copy", "fineweb", tmp_path) == 0
    assert (tmp_path / "fineweb.yaml").read_text() == shown
    assert "lists/ut1-domains.txt" in capsys.readouterr().out
    assert gristmill("recipes", "copy", "fineweb", tmp_path / "fineweb.yaml") == 2
    assert "exists" in capsys.readouterr().err
    assert gristmill("recipes", "show", "finewebb") == 2
    assert "did you mean `fineweb`" in capsys.readouterr().err


def test_plan_says_what_a_recipe_needs_and_what_of_it_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "laid").mkdir()
    write_warc(tmp_path / "a.warc.gz", pages([("page", "A page of few words. " * 30)]))
    path = lay_out("fineweb", tmp_path / "laid", [tmp_path / "a.warc.gz"], one_row)
    assert gristmill("plan", path) == 0
    assert f"needs {tmp_path}/laid/lists/ut1-domains.txt (there)" in capsys.readouterr().out
    (tmp_path / "laid/lists/ut1-domains.txt").unlink()
    assert gristmill("plan", path) == 1
    captured = capsys.readouterr()
    assert f"needs {tmp_path}/laid/lists/ut1-domains.txt (missing)" in captured.out
    assert "UT1" in captured.out and "dsi.ut-capitole.fr" in captured.err
