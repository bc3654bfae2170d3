"""`deterministic` holds for a run and no longer, and such a run repeats to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.trainer.ranks.parallel import determinism
from gristmill.trainer.train import Training, run

Corpus = Callable[..., Path]


def test_a_deterministic_run_leaves_torch_as_it_was() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with determinism(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with determinism(False):
        assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory == fills  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"model": {"num_experts": 4}, "micro_batch": 2, "optimizer": {"name": "muon"}},
        {"loss": {"unlikelihood": 0.5, "z": 1e-4, "smoothing": 0.1}, "checkpointing": "selective"},
    ],
)
def test_a_deterministic_run_repeats_to_the_bit_in_every_step(
    how: dict[str, Any], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every operator of a step has an implementation that adds in one order: torch refuses the others."""
    plain, under = Training._train_step, []

    def watched(self: Training, batch: Any) -> None:
        under.append(torch.are_deterministic_algorithms_enabled())
        plain(self, batch)

    monkeypatch.setattr(Training, "_train_step", watched)
    shape = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
    base = {"shards": str(corpus()), "device": "cpu", "batch": 4, "steps": 3, "log_every": 1, "threads": 2}
    logs = []
    for number in range(2):
        folder = tmp_path / str(number)
        own = {"run": str(folder), "deterministic": True, "model": shape | how.get("model", {})}
        run(base | how | own)
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        logs.append([(row["loss"], row["grad_norm"]) for row in rows])
    assert logs[0] == logs[1] and len(logs[0]) == 3
    assert under == [True] * 6 and not torch.are_deterministic_algorithms_enabled()
