"""Cross-entropy from hidden states, without the full logits: chunks of tokens, gradients computed in the
forward pass.

Per token with logits z over V tokens, target y, p = softmax(z), lse = logsumexp(z), H = entropy of p:

    loss = (1 - s)(lse - z_y) + s (lse - mean z) + c lse^2 - b H
    d loss / d z_j = p_j (1 + 2 c lse + b (log p_j + H)) - s / V - (1 - s)[j = y]

for smoothing s (as in torch), z-loss c (PaLM) and entropy bonus b; for losses on negatives see `negatives`.
The sum over a chunk's tokens and both gradients are taken while its logits exist, so the most that ever lies
in memory is one chunk, and nothing is computed twice.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gristmill.trainer.config import LossSettings
from gristmill.trainer.data.batch import IGNORED
from gristmill.trainer.optimize.negatives import add_negative_losses

CHUNK_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 27}  # logits at once, fp32: 16 MB and 512 MB


class Loss(NamedTuple):
    """`total` carries the gradient and is already scaled; `nll` is the plain sum of nats, for the log."""

    total: Tensor
    nll: Tensor


class TokenLosses(NamedTuple):
    """Per target, flattened: its nats, the entropy of its prediction (both fp32, 0 where it is ignored), and
    whether it was the likeliest."""

    nats: Tensor
    entropy: Tensor
    likeliest: Tensor


def chunked_loss(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    vocab: int,
    scale: Tensor | float,
    settings: LossSettings,
    fuse: bool = False,
    softcap: float = 0.0,
    negatives: Tensor | None = None,
) -> Loss:
    """Return `scale` times the summed loss of hidden states (N, D) under the head `weight` (>= vocab, D);
    targets (N), and what should not follow, `negatives` (N, W)."""
    apply: Any = _ChunkedLoss.apply
    total, nll = apply(hidden, weight, targets, vocab, scale, settings, fuse, softcap, negatives)
    return Loss(total, nll)


@torch.no_grad()
def token_losses(
    hidden: Tensor, weight: Tensor, targets: Tensor, vocab: int, softcap: float = 0.0
) -> TokenLosses:
    """Score targets (N) after hidden states (N, D) under the head `weight`, a chunk of logits at a time."""
    found: list[tuple[Tensor, ...]] = []
    weight = weight.to(hidden.dtype)
    size = chunk_rows(len(hidden), weight)
    for h, y in zip(*(torch.split(x, size) for x in (hidden, targets)), strict=True):
        logp = F.log_softmax(cap((h @ weight.t())[:, :vocab].float(), softcap), dim=-1)
        valid = y != IGNORED
        nats = torch.where(valid, -logp.gather(1, y.clamp(min=0)[:, None])[:, 0], 0.0)
        entropy = torch.where(valid, -(logp.exp() * logp).sum(-1), 0.0)
        found.append((nats, entropy, logp.argmax(-1) == y))
    return TokenLosses(*map(torch.cat, zip(*found, strict=True)))


def cap(logits: Tensor, bound: float) -> Tensor:
    """Return c tanh(logits / c), which stay within the bound c (Gemma 2); 0 leaves them."""
    return bound * torch.tanh(logits / bound) if bound else logits


def chunk_rows(num_tokens: int, weight: Tensor) -> int:
    """Return the tokens per chunk: as equal as possible, so that a compiled chunk sees at most two shapes."""
    most = max(1, CHUNK_ELEMENTS.get(weight.device.type, 1 << 24) // weight.shape[0])
    num_chunks = max(1, -(-num_tokens // most))
    return max(1, -(-num_tokens // num_chunks))


def loss_and_gradient(
    logits: Tensor,
    targets: Tensor,
    vocab: int,
    z: float,
    s: float,
    b: float,
    c: float = 0.0,
    negatives: Tensor | None = None,
    weights: tuple[float, float] = (0.0, 0.0),
) -> tuple[Tensor, ...]:
    """Return per token of one chunk the loss, the plain nats, and the gradient by the logits (n, >= vocab),
    in their type. `c` is the bound of a soft cap on logits, `weights` are those of the losses on negatives.

    Columns beyond the vocabulary take no part. Ignored tokens are the caller's: their rows hold values of
    token 0.
    """
    compiled, kind, padding = torch.compiler.is_compiling(), logits.dtype, logits.shape[1] - vocab
    logits = cap(logits[:, :vocab].float(), c)
    index = targets.clamp(min=0)[:, None]
    chosen = logits.gather(1, index)[:, 0]
    p = logits.softmax(-1)
    # Compiled, the sum is at hand. Else two maxima are cheaper than exponentials again, and the largest p
    # cannot be 0.
    lse = logits.logsumexp(-1) if compiled else logits.amax(-1) - p.amax(-1).log()
    nll = lse - chosen
    loss, gradient = nll, p
    pushed = None
    if negatives is not None:
        more, pushed = add_negative_losses(logits, p, targets, negatives, *weights)
        loss = loss + more
    if s:
        loss = loss + s * (chosen - logits.mean(-1))
    if z:
        loss = loss + z * lse.square()
    if b:
        entropy = lse - (p * logits).sum(-1)
        loss = loss - b * entropy
        gradient = p * (1 + 2 * z * lse[:, None] + b * (logits - lse[:, None] + entropy[:, None]))
    elif z:
        gradient = p * (1 + 2 * z * lse)[:, None]
    if s:
        gradient = gradient - s / vocab
    if compiled:  # a comparison fuses with the rest, a scattered write does not
        gradient = gradient - (1 - s) * (torch.arange(vocab, device=logits.device) == index)
    else:
        gradient.scatter_add_(1, index, torch.full_like(index, -(1 - s), dtype=p.dtype))
    if pushed is not None:
        gradient = gradient + pushed
    if c:
        gradient = gradient * (1 - (logits / c).square())
    gradient = F.pad(gradient, (0, padding)) if padding else gradient
    return loss, nll, gradient.to(kind)


@functools.cache
def _fused() -> Callable[..., tuple[Tensor, ...]]:
    return torch.compile(loss_and_gradient)


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        vocab: int,
        scale: Tensor | float,
        settings: LossSettings,
        fuse: bool,
        softcap: float,
        negatives: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        step = _fused() if fuse and negatives is None else loss_and_gradient
        head = weight.to(hidden.dtype)
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        total = nll = torch.zeros((), device=hidden.device)
        size = chunk_rows(len(hidden), weight)
        parts = [torch.split(x, size) for x in (hidden, targets, d_hidden)]
        pushed: Any = itertools.repeat(None) if negatives is None else torch.split(negatives, size)
        weights = (settings.unlikelihood, settings.contrastive)
        for h, y, out, against in zip(*parts, pushed, strict=False):
            how = (settings.z, settings.smoothing, settings.entropy, softcap)
            more = () if against is None else (against, weights)
            loss, nats, gradient = step(h @ head.t(), y, vocab, *how, *more)
            valid = y != IGNORED
            total, nll = total + (loss * valid).sum(), nll + (nats * valid).sum()
            torch.mm(gradient, head, out=out)
            out *= valid[:, None]  # here and not on the gradient, which is wider by far
            h = h * valid[:, None]
            if gradient.dtype == d_weight.dtype:
                d_weight.addmm_(gradient.t(), h)
            else:
                d_weight += gradient.t() @ h
        ctx.gradients, ctx.scale = (d_hidden, d_weight), scale
        ctx.mark_non_differentiable(nll)
        return total * scale, nll

    @staticmethod
    def backward(ctx: Any, d_total: Tensor, d_nll: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        d_hidden, d_weight = ctx.gradients
        ctx.gradients = None  # they are scaled in place and handed on: the weight's is never held twice
        factor = d_total * ctx.scale
        return d_hidden.mul_(factor), d_weight.mul_(factor), *[None] * 7
