"""The verbs around training, and the ranks they start."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import UsageError
from gristmill.manifest import Manifest, put_manifest
from gristmill.pipeline import cli
from gristmill.trainer.data.documents import documents_of_step
from gristmill.trainer.ranks.launch import launch

Corpus = Callable[..., Path]

SHAPE = '{"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}'


def gristmill(*arguments: object) -> int:
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def summary(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


def write_run(out: Path, *steps: str) -> None:
    """Say in a run file which steps are finished; each in `steps/NAME-0`."""
    for step in steps:
        if not (out / "steps" / f"{step}-0" / "manifest.json").exists():
            put_manifest(Manifest(out / "steps" / f"{step}-0", step, "0", {"stage": step}, [], [], None, {}))
    finished = [{"name": step, "folder": f"steps/{step}-0"} for step in steps]
    (out / "run.json").write_text(json.dumps({"recipe_name": "one", "steps": finished}))


def test_shards_are_trained_and_exported_from_the_command_line(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heldout = corpus("heldout", (9,), split="heldout")
    how = ["--set", f"model={SHAPE}", "--set", "steps=2", "--set", "device=cpu", "--set", "threads=1"]
    assert gristmill("train", corpus(), "--heldout", heldout, "--out", tmp_path / "run", "--json", *how) == 0
    assert summary(capsys.readouterr().out)["steps"] == 2
    assert gristmill("export-hf", tmp_path / "run", tmp_path / "hf") == 0
    assert (tmp_path / "hf" / "model.safetensors").is_file() and (tmp_path / "hf" / "config.json").is_file()


def test_what_a_step_read_is_told_from_the_command_line(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--set", f"model={SHAPE}", "--set", "steps=3", "--set", "device=cpu", "--set", "threads=1"]
    assert gristmill("train", corpus(), "--out", tmp_path / "run", "--json", *how) == 0
    capsys.readouterr()
    assert gristmill("trace", tmp_path / "run", "--step", 2, "--limit", 500, "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    _, expected = documents_of_step(tmp_path / "run", 2)
    assert [row["id"] for row in found] == [document.id for document in expected] and len(found) > 8
    assert gristmill("trace", tmp_path / "run", "--step", 2, "--limit", 2) == 0
    assert f"step 2 read {len(found)} documents; 2 of them" in capsys.readouterr().out
    assert gristmill("trace", tmp_path / "run", "--step", 4) == UsageError.exit_code


def test_a_run_is_known_by_its_folder(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its mix step brings shards and those held out, its train step the model."""
    for split, shards in (("train", corpus()), ("heldout", corpus("held", (9,), split="heldout"))):
        shutil.copytree(shards, tmp_path / "out" / "steps" / "mix-0" / "shards" / split)
    write_run(tmp_path / "out", "mix")
    how = ["--set", f"model={SHAPE}", "--set", "steps=2", "--set", "device=cpu", "--set", "threads=1"]
    assert gristmill("train", tmp_path / "out", "--out", tmp_path / "run", "--json", *how) == 0
    assert summary(capsys.readouterr().out)["evaluations"]["after"]
    assert gristmill("export-hf", tmp_path / "out", tmp_path / "hf") == UsageError.exit_code
    assert "holds no finished step `train`" in capsys.readouterr().err
    shutil.copytree(tmp_path / "run", tmp_path / "out" / "steps" / "train-0" / "train" / "run")
    write_run(tmp_path / "out", "mix", "train")
    assert gristmill("export-hf", tmp_path / "out", tmp_path / "hf") == 0


def test_a_mistaken_setting_ends_with_the_usage_code(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        gristmill("train", corpus(), "--out", tmp_path / "run", "--set", "optimizer.learning=1")
        == UsageError.exit_code
    )
    assert "unknown setting `optimizer.learning`" in capsys.readouterr().err


def test_gpus_asked_for_where_there_are_none_end_with_the_usage_code(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gristmill("train", corpus(), "--out", tmp_path / "run", "--gpus", 64) == UsageError.exit_code
    assert any(part in capsys.readouterr().err for part in ("sees no CUDA device", "this machine has"))


def test_a_rank_that_fails_ends_the_others() -> None:
    code = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(300)"
    began = time.monotonic()
    assert launch([sys.executable, "-c", code], 2) == 3
    assert time.monotonic() - began < 100


def test_every_rank_knows_its_place(tmp_path: Path) -> None:
    code = (
        f"import os, pathlib; e = os.environ\npathlib.Path({str(tmp_path)!r}, e['RANK']).write_text('"
        " '.join([e['WORLD_SIZE'], e['LOCAL_RANK'], e['MASTER_PORT']]))"
    )
    assert launch([sys.executable, "-c", code], 3) == 0
    places = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [place[:2] for place in places] == [["3", "0"], ["3", "1"], ["3", "2"]]
    assert len({place[2] for place in places}) == 1


@pytest.mark.slow
def test_torchrun_starts_the_trainer(corpus: Corpus, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "-m",
        "gristmill.trainer.train",
    ]
    how = [
        "--shards",
        str(corpus()),
        "--out",
        str(tmp_path / "run"),
        "--set",
        f"model={SHAPE}",
        "--set",
        "steps=2",
    ]
    how += ["--set", "device=cpu", "--set", "batch=4"]
    done = subprocess.run([*command, *how], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert summary(done.stdout)["steps"] == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_ranks_train_on_ray(corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = [
        "--ranks",
        2,
        "--address",
        "local",
        "--set",
        f"model={SHAPE}",
        "--set",
        "steps=2",
        "--set",
        "device=cpu",
        "--json",
    ]
    assert gristmill("train", corpus(), "--out", tmp_path / "run", *how) == 0
    assert summary(capsys.readouterr().out)["steps"] == 2
