"""`deterministic` holds for a run and no longer."""

from __future__ import annotations

import torch

from gristmill.trainer.ranks.parallel import determinism


def test_a_deterministic_run_leaves_torch_as_it_was() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with determinism(True):
        assert torch.are_deterministic_algorithms_enabled()
    with determinism(False):
        assert not torch.are_deterministic_algorithms_enabled()
