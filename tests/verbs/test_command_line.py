"""The command line as a newcomer meets it: its help, the commands it prints, what a slip costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.pipeline.cli import main
from gristmill.pipeline.recipe.file import read_recipe
from gristmill.pipeline.run import called
from gristmill.pipeline.verbs.listing import GROUPS, OTHERS, first_sentence
from tests.test_readme import verbs

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_help_lists_every_verb_in_a_group_with_its_whole_first_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("--help") == 0
    said = capsys.readouterr().out
    words = " ".join(said.split())
    for name, command in verbs().items():
        if " " not in name:
            assert f"{name} {first_sentence(command.help)}" in words
    groups = [line[:-1] for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert groups == ["Options", *[group for group in GROUPS if group != OTHERS or group in groups]]
    assert "..." not in said.partition("Start here")[2]
    assert call("-h") == 0
    assert capsys.readouterr().out == said


def test_a_shell_completes_verbs() -> None:
    asked = {"_GRISTMILL_COMPLETE": "complete_bash", "COMP_WORDS": "gristmill ins", "COMP_CWORD": "1"}
    program = Path(sys.executable).with_name("gristmill")
    done = subprocess.run([program], env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["inspect"]


def test_commands_to_copy_are_spelled_so_that_they_work_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "gristmill"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert called.program() == str(program)
    assert called.spelled("see it with `gristmill status`, not gristmill's") == (
        f"see it with `{program} status`, not gristmill's"
    )
    monkeypatch.setenv("PATH", str(program.parent))
    assert called.program() == "gristmill"
    monkeypatch.setattr("sys.argv", ["/x/gristmill/pipeline/cli.py"])
    assert called.program().endswith(" -m gristmill.pipeline.cli")


def test_a_folder_above_or_below_a_run_is_told_apart_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "demo" / "run"
    (run / "steps").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    for named in (run.parent, run / "steps"):
        assert call("report", str(named)) == 2
        assert f"hint: did you mean `{run}`?" in capsys.readouterr().err
    (tmp_path / "demo" / "other").mkdir()
    (tmp_path / "demo" / "other" / "run.json").write_text("{}")
    assert call("report", str(run.parent)) == 2
    assert "it holds several runs; name one" in capsys.readouterr().err


@pytest.mark.parametrize("until", ["documents", "shards", "model"])
@pytest.mark.parametrize("kind", ["web", "text"])
def test_init_writes_a_recipe_that_reads(tmp_path: Path, kind: str, until: str) -> None:
    path = tmp_path / "my corpus.yaml"
    given = ["--inputs", "a: b/*.warc.gz", "--kind", kind, "--until", until]
    assert call("init", str(path), *given) == 0
    recipe = read_recipe(path)
    assert recipe.sources[kind].inputs == [str(tmp_path / "a: b/*.warc.gz")]
    assert (getattr(recipe, "filter", None) is not None) == (kind == "web")
    assert (getattr(recipe, "train", None) is not None) == (until == "model")


def test_init_asks_what_was_not_given_and_spares_what_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gristmill.pipeline.cli", "init", "r.yaml"]
    place = {**os.environ, "PYTHONPATH": str(ROOT)}
    answers = "crawl/\nweb\nshards\n"
    done = subprocess.run(
        command, input=answers, cwd=tmp_path, env=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("? ") + done.stdout.count("?") >= 3
    again = subprocess.run(
        command, input=answers, cwd=tmp_path, env=place, capture_output=True, text=True, check=False
    )
    assert again.returncode == 2 and "`r.yaml` exists" in again.stderr
