"""What a checkpoint keeps safe, and what a run may change when it continues from one."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import GristmillError, InputError, IntegrityError, Interrupted, LockedError, UsageError
from gristmill.files.lock import hold_lock
from gristmill.trainer.checkpoints.checkpoint import Checkpoints, Meta, find, load
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.evaluation.heldout import HeldOut
from gristmill.trainer.stopping import Signals
from gristmill.trainer.train import Training, run

Corpus = Callable[..., Path]

SMALL = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}


def settings(shards: Path, run: Path, **more: Any) -> dict[str, Any]:
    return {
        "shards": str(shards), "run": str(run), "model": SMALL, "device": "cpu", "dtype": "fp32",
        "batch": 4, "steps": 6, "threads": 1, "log_every": 1,
    } | more  # fmt: skip


def rows(folder: Path, event: str) -> list[dict[str, Any]]:
    return [
        row
        for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines())
        if row["event"] == event
    ]


@pytest.mark.parametrize("name", ["__0_0.distcp", "tensors.json", "checkpoint.json"])
def test_a_flipped_bit_is_named_before_anything_is_loaded(name: str, corpus: Corpus, tmp_path: Path) -> None:
    run(settings(corpus(), tmp_path / "run", save_every=3))
    newest = find(tmp_path / "run")
    data = bytearray((newest / name).read_bytes())
    at = data.index(b'"samples": 24') + 11 if name == "checkpoint.json" else len(data) // 2
    data[at] ^= 0x01
    (newest / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=f"{name} does not have the sha256") as caught:
        load_model(tmp_path / "run", "cpu")
    assert "continues from step-00000003" in str(caught.value)


def test_the_pickle_that_torch_writes_is_never_opened(corpus: Corpus, tmp_path: Path) -> None:
    class Stranger:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    how = settings(corpus(), tmp_path / "run")
    run(how)
    folder = find(tmp_path / "run")
    assert (folder / ".metadata").is_file()
    (folder / ".metadata").write_bytes(pickle.dumps(Stranger()))
    load_model(tmp_path / "run", "cpu")
    run(how | {"steps": 7})
    assert not (tmp_path / "ran").exists()


def test_the_last_step_is_saved_before_it_is_scored(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = settings(corpus(), tmp_path / "run", heldout=str(corpus("held", (9,), split="heldout")))
    plain, calls = HeldOut.evaluate, []

    def dies_at_the_end(self: HeldOut, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("the node goes away")
        return plain(self, *args)

    monkeypatch.setattr(HeldOut, "evaluate", dies_at_the_end)
    with pytest.raises(RuntimeError, match="goes away"):
        run(how)
    assert find(tmp_path / "run").name == "step-00000006"
    assert set(run(how)["evaluations"]) == {"before", "after"}
    assert [row["step"] for row in rows(tmp_path / "run", "step")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("at", [0, 2, 6])
def test_a_signal_during_an_evaluation_stops_it_and_the_next_command_scores_again(
    at: int, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heldout = str(corpus("held", (9,), split="heldout"))
    how = {"heldout": heldout, "eval_every": 2, "micro_batch": 1}
    mix = corpus()
    run(settings(mix, tmp_path / "straight", **how))
    plain = Training._evaluate

    def interrupted(self: Training) -> None:
        if self.step == at:
            signal.raise_signal(signal.SIGTERM)
        plain(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_evaluate", interrupted)
        with pytest.raises(Interrupted):
            run(settings(mix, tmp_path / "run", **how))
    assert not [row for row in rows(tmp_path / "run", "eval") if row["step"] == at]
    run(settings(mix, tmp_path / "run", **how))
    assert rows(tmp_path / "run", "eval") == rows(tmp_path / "straight", "eval")


def test_a_second_run_in_one_folder_is_refused_and_a_dead_one_is_not_in_the_way(
    corpus: Corpus, tmp_path: Path
) -> None:
    how = settings(corpus(), tmp_path / "run")
    with hold_lock(tmp_path / "run"), pytest.raises(LockedError, match="in use by a run with pid"):
        run(how)
    assert run(how)["steps"] == 6


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": {"packing": "bestfit"}}, "`data.packing` 'concat'"),
        ({"data": {"shuffle_shards": 1}}, "`data.shuffle_shards` 0"),
        ({"data": {"document_mask": False}}, "`data.document_mask` True"),
        ({"batch": 8}, "`batch` 4"),
        ({"optimizer": {"name": "muon"}}, "`optimizer.name` 'adamw'"),
        ({"steps": 4}, "has trained 6 steps, `steps` is 4"),
    ],
)
def test_a_change_that_cannot_be_continued_is_refused_by_name_and_nothing_is_lost(
    change: dict[str, Any], named: str, corpus: Corpus, tmp_path: Path
) -> None:
    how = settings(corpus(), tmp_path / "run")
    run(how)
    before = {name: (tmp_path / "run" / name).read_bytes() for name in ("log.jsonl", "summary.json")}
    with pytest.raises(UsageError, match=named) as caught:
        run(how | {"steps": 12} | change)
    assert "gristmill train --from" in str(caught.value)
    assert before == {name: (tmp_path / "run" / name).read_bytes() for name in before}


def test_a_longer_schedule_says_how_the_rate_jumps(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = settings(corpus(), tmp_path / "run", steps=10)
    run(how)
    assert run(how | {"steps": 20})["steps"] == 20
    said = capsys.readouterr().err
    assert "steps 10 -> 20" in said and "learning rate goes from 0.000293 at step 10 to 0.001" in said
    assert "gristmill train --from" in said
    assert rows(tmp_path / "run", "resume") == [
        {"event": "resume", "step": 10, "changed": {"steps": [10, 20]}}
    ]


def test_a_longer_run_at_a_constant_rate_says_nothing_of_the_rate(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = settings(corpus(), tmp_path / "run", optimizer={"schedule": "constant", "warmup_fraction": 0.0})
    run(how)
    run(how | {"steps": 8, "spike_window": 64})
    said = capsys.readouterr().err
    assert "steps 6 -> 8" in said and "spike_window 128 -> 64" in said and "learning rate" not in said


def test_a_checkpoint_is_named_by_run_and_step(corpus: Corpus, tmp_path: Path) -> None:
    run(settings(corpus(), tmp_path / "run", save_every=2))
    assert find(tmp_path / "run@4").name == "step-00000004"
    with pytest.raises(InputError, match="no checkpoint of step 3") as caught:
        find(tmp_path / "run@3")
    assert "2, 4, 6" in str(caught.value)


def test_checkpoints_of_a_future_that_was_left_go_when_the_run_saves_again(
    corpus: Corpus, tmp_path: Path
) -> None:
    how = settings(corpus(), tmp_path / "run", ephemeral_every=1, keep=9)
    run(how)
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "latest").write_text("step-00000002")
    saved = Checkpoints.save

    class Killed(Exception):
        pass

    def once(self: Checkpoints, *args: Any) -> Any:
        saved(self, *args)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "save", once)
        run(how)
    assert [int(p.name[5:]) for p in sorted(checkpoints.glob("step-*"))] == [1, 2, 3, 6]  # 6 is permanent


def test_a_checkpoint_without_a_tensor_ends_in_one_line(corpus: Corpus, tmp_path: Path) -> None:
    how = settings(corpus(), tmp_path / "run")
    run(how)
    state = {"model.no_such.weight": torch.zeros(2)}
    with pytest.raises(GristmillError, match="holds no `model"):
        load(find(tmp_path / "run"), state)


def test_two_processes_in_one_folder_leave_one_run(corpus: Corpus, tmp_path: Path) -> None:
    how = settings(corpus(), tmp_path / "run", steps=2)
    (tmp_path / "how.json").write_text(json.dumps(how))
    command = [sys.executable, "-m", "gristmill.trainer.train", "--config", str(tmp_path / "how.json")]
    with hold_lock(tmp_path / "run"):
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 1 and "in use by a run" in done.stderr and "Traceback" not in done.stderr


def test_a_step_saved_on_the_way_is_kept_for_good_without_being_written_again(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = settings(corpus(), tmp_path / "run")
    plain = Training._after_step

    def told_at_the_end(self: Training, signals: Signals) -> None:
        signals.received = signal.SIGTERM if self.step == 6 else None
        plain(self, signals)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Training, "_after_step", told_at_the_end)
        run(how)
    folder = find(tmp_path / "run")
    assert folder.name == "step-00000006" and not Meta.read(folder).permanent
    files = {path.name: path.stat().st_ino for path in folder.glob("*.distcp")}
    run(how)
    assert Meta.read(folder).permanent
    assert {path.name: path.stat().st_ino for path in folder.glob("*.distcp")} == files
    load_model(tmp_path / "run", "cpu")


def test_a_damaged_checkpoint_of_the_past_neither_stops_a_run_nor_is_removed(
    corpus: Corpus, tmp_path: Path
) -> None:
    how = settings(corpus(), tmp_path / "run", save_every=0, ephemeral_every=1, keep=3)
    run(how | {"steps": 4})
    old = tmp_path / "run" / "checkpoints" / "step-00000002" / "checkpoint.json"
    old.write_text(old.read_text().replace('"permanent": false', '"permanent": fal'))
    assert run(how | {"steps": 8})["steps"] == 8
    kept = [int(path.name[5:]) for path in sorted(old.parent.parent.glob("step-*"))]
    assert kept == [2, 4, 6, 7, 8]  # 4 was an end and is permanent


def test_a_row_that_was_cut_while_it_was_written_goes_when_the_run_continues(
    corpus: Corpus, tmp_path: Path
) -> None:
    how = settings(corpus(), tmp_path / "run")
    run(how)
    log = tmp_path / "run" / "log.jsonl"
    whole = log.read_text()
    log.write_bytes(
        whole.encode() + b'{"event": "resume", "step": 6, "changed": {"steps": [6, 7]}\n\xff\n7\n'
    )
    run(how | {"steps": 7})
    assert log.read_text().startswith(whole)
    assert [row["step"] for row in map(json.loads, log.read_text().splitlines())][-2:] == [6, 7]
