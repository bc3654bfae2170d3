"""Runs on several gloo ranks that are killed, evaluated and saved on the way end with the same bits."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.trainer.checkpoints.checkpoint import find
from gristmill.trainer.checkpoints.tensors import read, read_table
from gristmill.trainer.evaluation.generate import load_model
from tests.support.ranks import start_ranks, train_on_ranks

Corpus = Callable[..., Path]

SMALL = {"num_layers": 2, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}

# As on CUDA: what lies on the device travels on a group of its own (there NCCL), only what lies on the CPU
# uses gloo of the default group, as saving in the background would without a group of its own.
LIKE_CUDA = """
import torch.distributed as dist
import gristmill.trainer.checkpoints.checkpoint as c
import gristmill.trainer.ranks.parallel as p
import gristmill.trainer.train as t
init = c.Checkpoints.__init__
c.Checkpoints.__init__ = lambda self, run, group, background=False: init(self, run, group, True)
device_group = []
def everyone():
    if not device_group: device_group.append(dist.new_group(backend="gloo"))
    return device_group[0]
def summed(self, tensor):
    dist.all_reduce(tensor, group=None if tensor.dtype == torch.int64 else everyone())
    return tensor
import torch
p.Group.sum = summed
"""


def settings(mix: Path, heldout: Path, run: Path, **more: Any) -> dict[str, Any]:
    return {
        "shards": str(mix), "heldout": str(heldout), "run": str(run), "model": SMALL, "device": "cpu",
        "batch": 8, "micro_batch": 1, "steps": 8, "log_every": 1, "optimizer": {"lr": 3e-3}, "threads": 1,
        "eval_every": 3, "ephemeral_every": 2, "save_every": 5,
    } | more  # fmt: skip


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """Return the last weights and every logged loss."""
    model, _ = load_model(folder, "cpu")
    rows = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    losses = [(row["event"], row["step"], row.get("source"), row["loss"]) for row in rows]
    return {name: tensor.detach() for name, tensor in model.named_parameters()}, losses


def same(a: Path, b: Path) -> bool:
    (weights, losses), (others, other_losses) = outcome(a), outcome(b)
    return losses == other_losses and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "deaths"), [(2, (3,)), (4, (1, 2, 3, 5, 6, 7))])
def test_ranks_killed_after_a_step_end_with_the_same_bits(
    ranks: int, deaths: tuple[int, ...], corpus: Corpus, tmp_path: Path
) -> None:
    """Steps 3 and 6 are scored, 2, 4, 5 and 6 are saved: a death falls before, between and after those."""
    mix, heldout = corpus(counts=(60, 40, 50)), corpus("heldout", (9,), split="heldout")
    runs = []
    for kind, dtype in (("ddp", "fp32"), ("fsdp", "bf16")):
        how = {"parallel": kind, "dtype": dtype}
        runs.append(settings(mix, heldout, tmp_path / kind, **how))
        for step in deaths:
            killed = settings(mix, heldout, tmp_path / f"{kind}-{step}", **how)
            runs += [killed | {"die_after": step}, killed]
    train_on_ranks(runs, tmp_path, ranks)
    for kind in ("ddp", "fsdp"):
        for step in deaths:
            assert same(tmp_path / kind, tmp_path / f"{kind}-{step}"), (kind, step)
    # what the optimizer holds, not the copies of the root that an evaluation leaves gathered in bf16
    table = read_table(find(tmp_path / "fsdp"))
    weights = {name: entry for name, entry in table.items() if name.startswith("model.")}
    assert {entry["dtype"] for entry in weights.values()} == {"float32"}
    assert len(weights["model.embed.weight"]["parts"]) == ranks


WHATEVER = {
    "muon and an average": {"optimizer": {"lr": 3e-3, "name": "muon", "ema_decay": 0.9}},
    "copies side by side": {"mesh": {"shard_ranks": 1}, "optimizer": {"lr": 3e-3, "name": "muon"}},
    "experts, computed again": {"model": SMALL | {"num_experts": 3}, "checkpointing": "full"},
    "experts, replicated": {"parallel": "ddp", "model": SMALL | {"num_experts": 3}},
    "inputs of its own, packed": {
        "loss": {"scheduled_sampling": 0.4, "unlikelihood": 0.5}, "data": {"packing": "bestfit"},
        "checkpointing": "selective",
    },
    "whole gradients, a head": {
        "mesh": {"reduce": "step", "reshard": "backward"}, "model": SMALL | {"kind": "qwen3", "tied": False},
    },
}  # fmt: skip


@pytest.mark.slow
def test_whatever_is_trained_a_death_leaves_no_trace_in_weights_moments_or_averages(
    corpus: Corpus, tmp_path: Path
) -> None:
    mix, heldout = corpus(counts=(60, 40, 50)), corpus("heldout", (9,), split="heldout")
    runs = []
    for name, variant in WHATEVER.items():
        how = {"parallel": "fsdp", "dtype": "bf16"} | variant
        runs.append(settings(mix, heldout, tmp_path / name, **how))
        killed = settings(mix, heldout, tmp_path / f"{name}, killed", **how)
        runs += [killed | {"die_after": 6}, killed]
    train_on_ranks(runs, tmp_path)
    for name in WHATEVER:
        one, other = (everything(tmp_path / folder) for folder in (name, f"{name}, killed"))
        assert [key for key in one if not torch.equal(one[key], other[key])] == [], name
        assert same(tmp_path / name, tmp_path / f"{name}, killed"), name


def everything(run: Path) -> dict[str, torch.Tensor]:
    """Return all that the newest checkpoint of a run holds."""
    folder = find(run)
    state = {
        name: torch.empty(entry["shape"], dtype=getattr(torch, entry["dtype"]))
        for name, entry in read_table(folder).items()
    }
    read(folder, state)
    return state


@pytest.mark.slow
def test_background_saves_do_not_meet_the_collectives_of_the_steps(corpus: Corpus, tmp_path: Path) -> None:
    mix, heldout = corpus(counts=(60, 40, 50)), corpus("heldout", (9,), split="heldout")
    how = {"parallel": "ddp", "steps": 40, "ephemeral_every": 1, "save_every": 0, "eval_every": 0}
    train_on_ranks([settings(mix, heldout, tmp_path / "run", **how)], tmp_path, 2, LIKE_CUDA)
    assert find(tmp_path / "run").name == "step-00000040"
    load_model(tmp_path / "run", "cpu")


@pytest.mark.crash
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_processes_killed_at_any_moment_continue_to_the_same_bits(
    kind: str, corpus: Corpus, tmp_path: Path
) -> None:
    mix, heldout = corpus(counts=(60, 40, 50)), corpus("heldout", (9,), split="heldout")
    how = {"parallel": kind, "steps": 60, "eval_every": 7, "ephemeral_every": 3, "save_every": 25}
    train_on_ranks([settings(mix, heldout, tmp_path / "straight", **how)], tmp_path)
    draw = random.Random(0)
    killed = settings(mix, heldout, tmp_path / "killed", **how)
    for _ in range(6):
        processes = start_ranks([killed], tmp_path)
        log = tmp_path / "killed" / "log.jsonl"
        begun = log.stat().st_size if log.is_file() else 0
        while not (log.is_file() and log.stat().st_size > begun) and processes[0].poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1))
        for process in processes:
            process.kill()
            process.communicate()
    train_on_ranks([killed], tmp_path)
    assert same(tmp_path / "straight", tmp_path / "killed")
