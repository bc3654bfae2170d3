"""Decide on the device which steps to skip: non-finite ones, and ones far above the recent past.

A window of the losses and gradient norms of the last steps is kept as a tensor; a step whose loss or norm
lies more than `sigmas` deviations above the window's mean is skipped (llm.c's outlier detector, OLMo-core's
SkipStepOptimizer). As in OLMo-core the window takes in skipped steps too: a loss that has risen for good,
because another source begins or a rate was raised, widens the window within a few steps and is then taken.
Non-finite values never enter.
"""

from __future__ import annotations

import torch
from torch import Tensor

MIN_HISTORY = 32  # steps before deviations mean anything


class SpikeFilter:
    """Judge each step by a tensor of 1 (take) or 0 (skip); the host reads counts only when it logs."""

    def __init__(self, window: int, sigmas: float, device: torch.device) -> None:
        self.sigmas = sigmas
        self.state = {
            "history": torch.zeros(2, window, device=device),
            "seen": torch.zeros((), device=device),
            "skipped": torch.zeros((), device=device),
            "skipped_in_a_row": torch.zeros((), device=device),
        }

    @torch.no_grad()
    def judge(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Return 1.0 to take the step or 0.0 to skip it, and remember it."""
        state = self.state
        history, seen = state["history"], state["seen"]
        window = history.shape[1]
        value = torch.stack([loss.float(), norm.float()])
        take = finite = torch.isfinite(value).all()
        if self.sigmas:
            place = torch.arange(window, device=history.device)
            filled = (place < seen).float()
            count = filled.sum().clamp(min=2)
            mean = (history * filled).sum(1) / count
            spread = ((history - mean[:, None]).square() * filled).sum(1) / (count - 1)
            spike = (value > mean + self.sigmas * spread.sqrt()).any()
            take = take & ~(spike & (seen >= min(MIN_HISTORY, window)))
            here = (place == seen % window) & finite
            history.copy_(torch.where(here, torch.nan_to_num(value)[:, None], history))
        kept = take.float()
        seen += finite.float()
        state["skipped"] += 1 - kept
        state["skipped_in_a_row"].copy_((state["skipped_in_a_row"] + 1) * (1 - kept))
        return kept
