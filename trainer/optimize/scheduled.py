"""Scheduled sampling: some inputs are what the model itself would have written (Bengio et al. 2015).

A decoder reads all positions at once, so it goes over the batch twice (Mihaylova and Martins 2019): first
without gradients, to find the likeliest token after each input; then some inputs are replaced by the one that
was foretold for their place. The share rises from 0 in proportion to the steps taken; targets stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gristmill.splitmix import GOLDEN, finalise
from gristmill.trainer.data.batch import TokenBatch


def share_at(step: int, steps: int, most: float) -> float:
    """The share of inputs that are replaced in a step 0..steps-1: it reaches `most` in the last."""
    return most * step / max(1, steps - 1)


def draws(seed: int, sample: int, count: int) -> npt.NDArray[np.float32]:
    """Draw `count` numbers in [0, 1) for a sample: 24 bits of splitmix64 each (Steele et al. 2014)."""
    key = hashlib.blake2b(f"scheduled/{seed}/{sample}".encode(), digest_size=8).digest()
    at = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN + np.frombuffer(key, "<u8")
    return (finalise(at) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


@torch.no_grad()
def with_own_inputs(
    batch: TokenBatch,
    foretell: Callable[[TokenBatch], Tensor],
    share: float,
    seed: int,
    samples: Sequence[int],
) -> TokenBatch:
    """Replace a share of inputs, never a document's first, by what `foretell` (B, T) gives for their place.

    Each row is drawn by `seed` and its number among the run's samples: a resumed run draws alike, on other
    ranks and in other parts, too.
    """
    if not share:
        return batch
    inputs = batch.inputs
    foretold = foretell(batch).to(inputs.device)
    before = torch.cat([inputs[:, :1], foretold[:, :-1]], 1)
    rows = np.stack([draws(seed, sample, inputs.shape[1]) for sample in samples])
    drawn = torch.from_numpy(rows).to(inputs.device)
    own = (drawn < share) & (batch.positions > 0)
    own[:, 0] = False
    return replace(batch, inputs=torch.where(own, before, inputs))
