"""A recipe's own code runs only when its step does, is a filter before it is made, and can be refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gristmill.errors import UsageError
from gristmill.filters.order import digests_of
from gristmill.filters.passes import compile_filters
from gristmill.filters.settings import FilterSettings
from gristmill.no_code import NO_CODE
from gristmill.pipeline.cli import main

LEAVES_A_TRACE = "from pathlib import Path\nPath('ran').touch()\n"
RULE = LEAVES_A_TRACE + "def f(text):\n    return 0\n"
BLOCK = (
    LEAVES_A_TRACE
    + "from datatrove.pipeline.filters.base_filter import BaseFilter\n"
    + "class Own(BaseFilter):\n    name = 'own'\n    def filter(self, doc):\n        return True\n"
)


VERBS = [["plan"], ["schema"], ["plan", "--estimate", "--engine", "inline"], ["run"]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(NO_CODE, raising=False)
    (tmp_path / "in.jsonl").write_text('{"text": "some words"}\n')
    return tmp_path


def write_recipe(place: Path, name: str, **sections: object) -> None:
    filters = {"filter": sections} if sections else {}
    recipe = {"name": name, "sources": {"web": {"inputs": "in.jsonl"}}, **filters}
    (place / f"{name}.yaml").write_text(json.dumps(recipe))


def gristmill(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    "command", ["subprocess.Popen", "os.system", "datatrove.pipeline.filters.base_filter.BaseFilter"]
)
def test_only_filters_of_datatrove_are_made(place: Path, command: str) -> None:
    arguments = {"args": ["touch", "ran"]} if "Popen" in command else {}
    section = [{"filter": command, "arguments": arguments}]
    with pytest.raises(UsageError, match="is no filter of datatrove"):
        compile_filters(FilterSettings.model_validate({"datatrove": section}), seed=1)
    assert not (place / "ran").exists()


def test_no_class_is_made_before_all_are_checked(place: Path) -> None:
    (place / "made.py").write_text(
        BLOCK.replace("Path('ran').touch()", "") + "    def __init__(self):\n        Path('ran').touch()\n"
    )
    both = [{"filter": "made.Own"}, {"filter": "subprocess.Popen", "arguments": {"args": "true"}}]
    with pytest.raises(UsageError, match="Popen"):
        compile_filters(FilterSettings.model_validate({"datatrove": both}), seed=1)
    assert not (place / "ran").exists()
    compile_filters(FilterSettings.model_validate({"datatrove": both[:1]}), seed=1)
    assert (place / "ran").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_only_a_run_runs_code(place: Path, verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (place / "own.py").write_text(RULE)
    (place / "package").mkdir()
    (place / "package" / "__init__.py").write_text(LEAVES_A_TRACE)
    (place / "package" / "own_block.py").write_text(BLOCK)
    write_recipe(
        place,
        "own",
        rules=[{"function": "own.py:f", "max": 1}],
        datatrove=[{"filter": "package.own_block.Own"}],
    )
    code = gristmill(*verb, *([] if verb == ["schema"] else ["own.yaml"]))
    if verb == ["schema"] and code:
        pytest.skip("there is no such verb yet")
    assert code == 0, capsys.readouterr().err
    assert (place / "ran").exists() is (verb == ["run"])
    if verb == ["run"]:
        (place / "ran").unlink()
        assert gristmill("status", "out/own") == gristmill("plan", "own.yaml") == 0
        assert not (place / "ran").exists()


def test_a_plan_and_a_run_digest_the_same_code(place: Path) -> None:
    (place / "own.py").write_text(RULE)
    (place / "own_class.py").write_text(BLOCK)
    (place / "list").write_text("bad.org\n")
    sections = {
        "rules": [{"function": "own.py:f", "max": 1}],
        "datatrove": [{"filter": "own_class.Own"}, {"filter": "datatrove.pipeline.filters.LambdaFilter"}],
        "url": {"domains": ["list"]},
    }
    settings = FilterSettings.model_validate(sections)
    planned = digests_of(settings, seed=1)
    assert set(planned) == {
        "rules.f.source",
        "datatrove.Own.source",
        "datatrove.Own.libraries",
        "url.lists",
    }
    made = FilterSettings.model_validate({**sections, "datatrove": sections["datatrove"][:1]})
    assert compile_filters(made, seed=1).digests == planned
    (place / "own_class.py").write_text(BLOCK + "# changed\n")
    assert digests_of(settings, seed=1)["datatrove.Own.source"] != planned["datatrove.Own.source"]


@pytest.mark.parametrize("how", ["before", "after", "variable"])
@pytest.mark.parametrize("kind", ["rules", "datatrove"])
def test_recipes_that_carry_code_can_be_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str, kind: str
) -> None:
    (place / "own.py").write_text(RULE)
    sections = {"rules": [{"function": "own.py:f", "max": 1}], "datatrove": [{"filter": "own.Own"}]}
    write_recipe(place, "own", **{kind: sections[kind]})
    write_recipe(
        place,
        "plain",
        datatrove=[{"filter": "datatrove.pipeline.filters.RegexFilter", "arguments": {"regex_exp": "x"}}],
    )
    monkeypatch.setenv(NO_CODE, "1" if how == "variable" else "")
    flag = [] if how == "variable" else ["--no-code"]
    for verb in ("plan", "run"):
        assert (
            gristmill(*(flag if how == "before" else []), verb, "own.yaml", *(flag if how == "after" else []))
            != 0
        )
        said = capsys.readouterr().err
        assert "own.yaml:1" in said and "--no-code" in said
    assert not (place / "ran").exists()
    assert gristmill("plan", "plain.yaml") == 0
    os.environ.pop(NO_CODE, None)
