"""Scheduled sampling: some inputs are what the model itself would have written (Bengio et al. 2015).

A decoder reads all positions at once, so it goes over the batch twice (Mihaylova and Martins 2019): first
without gradients, to find the likeliest token after each input; then some inputs are replaced by the one that
was foretold for their place. The share rises from 0 in proportion to the steps taken; targets stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gristmill.trainer.data.batch import TokenBatch


def share_at(step: int, steps: int, most: float) -> float:
    """The share of inputs that are replaced in a step 0..steps-1: it reaches `most` in the last."""
    return most * step / max(1, steps - 1)


@torch.no_grad()
def with_own_inputs(
    batch: TokenBatch, foretell: Callable[[TokenBatch], Tensor], share: float, seed: int
) -> TokenBatch:
    """Replace a share of inputs, never a document's first, by what `foretell` (B, T) gives for their place.

    The draw is keyed by `seed`, so a resumed run draws alike.
    """
    if not share:
        return batch
    inputs = batch.inputs
    foretold = foretell(batch).to(inputs.device)
    before = torch.cat([inputs[:, :1], foretold[:, :-1]], 1)
    drawn = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(seed)).to(inputs.device)
    own = (drawn < share) & (batch.positions > 0)
    own[:, 0] = False
    return replace(batch, inputs=torch.where(own, before, inputs))
