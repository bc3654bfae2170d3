"""Branches begin with the weights, moments and settings of another run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import UsageError
from gristmill.pipeline import cli
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.stopping import Signals
from gristmill.trainer.train import Training, run

Corpus = Callable[..., Path]

SMALL = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}


@pytest.fixture
def trunk(corpus: Corpus, tmp_path: Path) -> dict[str, Any]:
    """Train a trunk of 12 steps at a constant rate, saved every 4, and return its settings."""
    how = {
        "shards": str(corpus()), "heldout": str(corpus("held", (9,), split="heldout")),
        "run": str(tmp_path / "trunk"), "model": SMALL, "device": "cpu", "dtype": "fp32", "batch": 4,
        "steps": 12, "threads": 1, "log_every": 1, "save_every": 4,
        "optimizer": {"lr": 3e-3, "schedule": "constant", "warmup_fraction": 0.0},
    }  # fmt: skip
    run(how)
    return how


def rows(folder: Path, event: str = "step") -> list[dict[str, Any]]:
    return [
        row
        for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
        if row["event"] == event
    ]


def test_a_branch_at_the_same_rate_on_the_same_data_goes_on_as_its_trunk_did(
    trunk: dict[str, Any], tmp_path: Path
) -> None:
    run({"branch": f"{trunk['run']}@4", "run": str(tmp_path / "b")})
    theirs, ours = rows(tmp_path / "trunk")[4:], rows(tmp_path / "b")
    assert [row["loss"] for row in ours] == [row["loss"] for row in theirs]
    assert [row["tokens"] for row in ours] == [row["tokens"] for row in theirs]
    assert [row["step"] for row in ours] == list(range(1, 9))
    weights = [dict(load_model(tmp_path / name, "cpu")[0].named_parameters()) for name in ("trunk", "b")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_one_trunk_anneals_on_another_mixture_to_several_lengths(
    trunk: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    other = str(corpus("other", (25, 25)))
    for name, how in (("short", {"steps": 3}), ("long", {"steps": 6}), ("usual", {})):
        branch = {"branch": f"{trunk['run']}@8", "run": str(tmp_path / name), "shards": other}
        summary = run(branch | how | {"optimizer": {"schedule": "decay"}})
        assert summary["trunk"]["step"] == 8 and set(summary["evaluations"]) == {"before", "after"}
    assert [row["lr"] for row in rows(tmp_path / "short")] == pytest.approx(
        [3e-3 * (1 - (step / 3) ** 0.5) for step in range(3)]
    )
    assert len(rows(tmp_path / "long")) == 6 and len(rows(tmp_path / "usual")) == 2  # a fifth of ten
    before = {name: rows(tmp_path / name, "eval")[0]["nats"] for name in ("short", "long")}
    assert before["short"] == before["long"]


def test_a_branch_that_is_killed_continues_without_its_trunk(trunk: dict[str, Any], tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    how: dict[str, Any] = {"branch": f"{trunk['run']}@8", "steps": 6, "ephemeral_every": 2}
    how["optimizer"] = {"schedule": "decay"}
    run(how | {"run": str(tmp_path / "straight")})
    plain = Training._after_step

    def dies(self: Training, signals: Signals) -> None:
        plain(self, signals)
        if self.step == 3:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Training, "_after_step", dies)
        run(how | {"run": str(tmp_path / "killed")})
    (tmp_path / "trunk").rename(tmp_path / "gone")
    run(how | {"run": str(tmp_path / "killed")})
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("straight", "killed")]
    assert losses[0] == losses[1] and len(losses[0]) == 6


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"num_layers": 2}}, "num_layers 1, the branch asks for 2"),
        ({"optimizer": {"name": "muon"}}, "trained with adamw, the branch asks for muon"),
        ({"run": "trunk"}, "a run folder of its own"),
        ({"init": "somewhere"}, "`branch` and `init`"),
    ],
)
def test_what_a_branch_cannot_change_is_refused_by_name(
    change: dict[str, Any], named: str, trunk: dict[str, Any], tmp_path: Path
) -> None:
    change = {key: str(tmp_path / value) if key == "run" else value for key, value in change.items()}
    with pytest.raises(UsageError, match=named):
        run({"branch": f"{trunk['run']}@8", "run": str(tmp_path / "b")} | change)


def test_a_branch_keeps_the_base_width_of_its_trunk(trunk: dict[str, Any], tmp_path: Path) -> None:
    wide = {"model": SMALL | {"tied": False}, "heldout": "", "steps": 2}
    run(trunk | wide | {"run": str(tmp_path / "wide"), "optimizer": {"lr": 3e-3, "mup_base_width": 16}})
    branch = {"branch": str(tmp_path / "wide"), "steps": 2, "run": str(tmp_path / "b")}
    with pytest.raises(UsageError, match="mup_base_width 16, the branch asks for 0"):
        run(branch | {"optimizer": {"lr": 3e-3, "mup_base_width": 0}})
    assert run(branch | {"optimizer": {"lr": 3e-3}})["steps"] == 2


def test_a_decay_from_a_rate_of_nothing_is_refused(trunk: dict[str, Any], tmp_path: Path) -> None:
    run(trunk | {"run": str(tmp_path / "wsd"), "optimizer": {"lr": 3e-3}})
    with pytest.raises(UsageError, match="has come to 0 at step 12"):
        run({"branch": str(tmp_path / "wsd"), "run": str(tmp_path / "b"), "optimizer": {"schedule": "decay"}})


def test_a_branch_is_started_from_the_command_line(
    trunk: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--from", f"{trunk['run']}@8", "--out", str(tmp_path / "b"), "--json"]
    command += ["--set", "schedule=decay", "--set", "steps=4"]
    try:
        cli.main(command)
    except SystemExit as end:
        assert not end.code
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["steps"] == 4 and summary["tokens"] == 12 * 4 * 32
