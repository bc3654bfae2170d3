"""Two gloo ranks, replicated and sharded, against one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.trainer.train import run
from tests.support.ranks import train_on_ranks

Corpus = Callable[..., Path]

SMALL = {"num_layers": 2, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
EXPERTS = SMALL | {"num_experts": 4}
MUON = {"lr": 3e-3, "name": "muon"}


def losses(folder: str) -> list[float]:
    """Return the logged losses, held-out ones last."""
    rows = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for event in ("step", "eval") for row in rows if row["event"] == event]


def settings(shards: Path, heldout: Path, run: Path, **more: Any) -> dict[str, Any]:
    base = {
        "shards": str(shards),
        "heldout": str(heldout),
        "run": str(run),
        "model": SMALL,
        "device": "cpu",
        "dtype": "fp32",
    }
    return (
        base
        | {"batch": 4, "steps": 8, "log_every": 1, "optimizer": {"lr": 3e-3}, "micro_batch": 1, "threads": 1}
        | more
    )


@pytest.mark.parametrize(
    "variants",
    [
        [{"parallel": "fsdp", "model": EXPERTS}, {"parallel": "ddp", "optimizer": MUON}],
        pytest.param(
            [
                {"parallel": "ddp"},
                {"parallel": "fsdp", "optimizer": MUON},
                {"parallel": "fsdp", "checkpointing": True},
                {"parallel": "ddp", "model": EXPERTS, "micro_batch": 2},
                {"parallel": "fsdp", "model": EXPERTS, "micro_batch": 1},
            ],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_ranks_give_the_curve_of_one_process_and_their_checkpoints_move(
    variants: list[dict[str, Any]], corpus: Corpus, tmp_path: Path
) -> None:
    mix, heldout = corpus(), corpus("heldout", (9,), split="heldout")
    names = [f"{number}-{variant['parallel']}" for number, variant in enumerate(variants)]
    both = [
        settings(mix, heldout, tmp_path / f"two-{name}", save_every=4, **v)
        for name, v in zip(names, variants, strict=True)
    ]
    train_on_ranks(both, tmp_path)
    for name, variant, pair in zip(names, variants, both, strict=True):
        alone = settings(mix, heldout, tmp_path / f"one-{name}", save_every=4, **variant)
        run(alone)
        straight = losses(alone["run"])
        assert losses(pair["run"]) == pytest.approx(straight, abs=1e-5), name
        (Path(pair["run"]) / "checkpoints" / "latest").write_text("step-00000004")
        run(pair)  # what two ranks saved, one process continues
        assert losses(pair["run"]) == pytest.approx(straight, abs=1e-5), name


@pytest.mark.slow
def test_a_checkpoint_of_one_process_is_continued_by_two_ranks(corpus: Corpus, tmp_path: Path) -> None:
    mix, heldout = corpus(), corpus("heldout", (9,), split="heldout")
    runs = [settings(mix, heldout, tmp_path / kind, parallel=kind, save_every=4) for kind in ("ddp", "fsdp")]
    for one in runs:
        run(one)
        (Path(one["run"]) / "checkpoints" / "latest").write_text("step-00000004")
    straight = losses(runs[0]["run"])
    train_on_ranks(runs, tmp_path)
    for one in runs:
        assert losses(one["run"]) == pytest.approx(straight, abs=1e-5)
