"""Losses on tokens that should not come again: unlikelihood, and contrastive token loss.

The negatives of a position are the distinct tokens before it in its document, at most so many back, without
the one that does follow. With logits z, target y and p = softmax(z):

    unlikelihood (Welleck et al. 2020)       sum over negatives c of -log(1 - p_c)
        d / d z_j = sum_c q_c ([j = c] - p_j)  with q_c = p_c / (1 - p_c)
    contrastive token (Jiang et al. 2022)    log(1 + sum over negatives c of exp(z_c - z_y))
        d / d z_c = s_c, d / d z_y = -sum_c s_c  with s = softmax of 0 and the z_c - z_y
"""

from __future__ import annotations

import torch
from torch import Tensor

NONE = -1  # no negative
_CLOSEST = 1e-6  # of 1 - p_c: below, its logarithm says nothing


def negatives_of(tokens: Tensor, positions: Tensor, targets: Tensor, window: int) -> Tensor:
    """Return the negatives of each position of (B, T) inputs, (B, T, window); NONE where there are fewer."""
    steps = torch.arange(tokens.shape[1], device=tokens.device)
    back = torch.arange(window, device=tokens.device)
    at = steps[:, None] - back
    found = tokens[:, at.clamp(min=0)]
    # The input at position 0 is the end of the document before.
    outside = (at < 0) | (positions[:, :, None] <= back) | (found == targets[:, :, None])
    found, _ = found.masked_fill(outside, NONE).sort(-1)
    again = torch.zeros_like(found, dtype=torch.bool)
    again[:, :, 1:] = found[:, :, 1:] == found[:, :, :-1]
    return found.masked_fill(again, NONE)


def add_negative_losses(
    logits: Tensor, p: Tensor, targets: Tensor, negatives: Tensor, unlikelihood: float, contrastive: float
) -> tuple[Tensor, Tensor]:
    """Return, of (n, V) logits, the loss of each row (n) and its gradient by the logits (n, V)."""
    there = negatives != NONE
    index = negatives.clamp(min=0)
    loss = torch.zeros_like(logits[:, 0])
    gradient = torch.zeros_like(logits)
    if unlikelihood:
        chosen = p.gather(1, index)
        rest = (1 - chosen).clamp(min=_CLOSEST)
        loss = loss - unlikelihood * (rest.log() * there).sum(1)
        odds = unlikelihood * (chosen / rest) * there
        gradient.scatter_add_(1, index, odds)
        gradient -= p * odds.sum(1, keepdim=True)
    if contrastive:
        right = targets.clamp(min=0)[:, None]
        ahead = (logits.gather(1, index) - logits.gather(1, right)).masked_fill(~there, -torch.inf)
        ahead = torch.cat([torch.zeros_like(ahead[:, :1]), ahead], 1)
        loss = loss + contrastive * ahead.logsumexp(1)
        shares = contrastive * ahead.softmax(1)[:, 1:]
        gradient.scatter_add_(1, index, shares)
        gradient.scatter_add_(1, right, -shares.sum(1, keepdim=True))
    return loss, gradient
