"""The model: a decoder whose layers an architecture makes (`architectures/`).

    model = Model(preset("llama-15m", vocab=8192))
    init_weights(model, seed=0)  # initialise.py
    logits = model(tokens)                                    # (B, T) -> (B, T, vocab)
    loss = model(tokens, positions, targets, scale=1 / count, loss=LossSettings())  # no full logits

Weights are fp32; `model.dtype` is what products are computed in.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gristmill.trainer.config import LossSettings
from gristmill.trainer.model.architectures.table import architecture
from gristmill.trainer.model.attention import KVCache, Mask
from gristmill.trainer.model.layers import Linear, Norm
from gristmill.trainer.model.loss import Loss, cap, chunked_loss, token_losses
from gristmill.trainer.model.moe import auxiliary_loss, copies
from gristmill.trainer.model.recompute import recomputed
from gristmill.trainer.model.rope import Rotary, tables
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.negatives import negatives_of


class Model(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        made_of = architecture(config)
        self.config, self.traits, self.dtype = config, made_of.traits, torch.float32
        self.recompute, self.fuse_loss = "none", False  # recompute: none, selective or full
        self.embed = nn.Embedding(config.padded_vocab, config.width)
        learned = self.traits.learned_positions
        self.positions = nn.Embedding(config.context, config.width) if learned else None
        self.blocks = nn.ModuleList(made_of.block(config, layer) for layer in range(config.num_layers))
        self.norm = Norm(config, self.traits)
        self.head = None if config.tied else Linear(config.width, config.padded_vocab, bias=False)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        targets: Tensor | None = None,
        *,
        mask: Mask = None,
        cache: KVCache | None = None,
        scale: Tensor | float = 1.0,
        loss: LossSettings | None = None,
        last: bool = False,
        expert_shares: Tensor | None = None,
        count_copies: bool = False,
        hidden: bool = False,
    ) -> Any:
        """Return logits (B, T, vocab); with `targets` and `loss` a Loss; with `targets` alone TokenLosses.

        `last` computes the logits of the last position only. `expert_shares` (layers, experts) are those of
        the whole step; `count_copies` returns what they are made of, the copies sent to each expert. `hidden`
        returns the last layer's states (B, T, width) instead of logits.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        x = F.embedding(tokens, self.embed.weight)
        if self.positions is not None:
            x = x + F.embedding(positions, self.positions.weight)
        if self.traits.embed_scaled:
            x = x * math.sqrt(self.config.width)
        x = x.to(self.dtype)
        real = None if targets is None or not (loss or count_copies) else (targets >= 0).flatten()
        routings = []
        for block, rotary in zip(self.blocks, self.rotary(positions), strict=True):
            if self.recompute == "full" and torch.is_grad_enabled():
                x, routing = recomputed(block, "full", x, rotary, mask, None, real)
            else:
                x, routing = block(x, rotary, mask, cache, real)
            routings += [] if routing is None else [routing]
        if count_copies:
            return copies(routings)
        if cache is not None:
            cache.length += tokens.shape[1]
        x = self.norm(x[:, -1:] if last else x)
        if hidden:
            return x
        weight = self.embed.weight if self.head is None else self.head.weight
        if targets is None:
            return cap(F.linear(x, weight.to(x.dtype))[..., : self.config.vocab], self.config.logit_softcap)
        states, flat, softcap = x.flatten(0, 1), targets.flatten(), self.config.logit_softcap
        if loss is None:
            return token_losses(states, weight, flat, self.config.vocab, softcap)
        negatives = None
        if loss.has_negatives:
            negatives = negatives_of(tokens, positions, targets, loss.negatives).flatten(0, 1)
        total, nll = chunked_loss(
            states, weight, flat, self.config.vocab, scale, loss, self.fuse_loss, softcap, negatives
        )
        if routings:
            total = total + auxiliary_loss(routings, expert_shares, self.config) * scale
        return Loss(total, nll)

    def rotary(self, positions: Tensor) -> list[Rotary]:
        """Return each layer's cosines and sines of positions (B, T)."""
        if self.positions is not None:
            return [None] * self.config.num_layers
        return tables(self.config, positions)


def num_parameters(model: Model, *, active: bool = False) -> int:
    """Count weights without the padding of the vocabulary; `active` counts only the experts a token
    passes."""
    config = model.config
    total = sum(parameter.numel() for parameter in model.parameters())
    total -= (config.padded_vocab - config.vocab) * config.width * (1 if config.tied else 2)
    if active and config.num_experts:
        total -= (
            (config.num_experts - config.experts_per_token)
            * 3
            * config.width
            * config.ffn
            * config.num_layers
        )
    return total


def flops_per_token(model: Model) -> int:
    """Return training FLOPs per token, 6 N + 12 L H Q T (PaLM).

    N counts the head but no embedding lookups; attention is not halved for causality, as in nanoGPT and
    torchtitan; T is a layer's window where it has one.
    """
    config = model.config
    n = num_parameters(model, active=True)
    n -= 0 if config.tied else config.vocab * config.width
    n -= config.context * config.width if model.traits.learned_positions else 0
    seen = sum(
        min(config.layer_window(layer) or config.context, config.context)
        for layer in range(config.num_layers)
    )
    return 6 * n + 12 * config.num_heads * config.head_dim * seen
