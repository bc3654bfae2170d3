"""The model: a decoder of the LLaMA family, GPT-2 by switch, a mixture of experts by switch.

    model = Model(preset("llama-15m", vocab=8192))
    init_weights(model, seed=0)
    logits = model(tokens)                                    # (B, T) -> (B, T, vocab)
    loss = model(tokens, positions, targets, scale=1 / count)  # summed over targets, scaled; never holds the
    full logits

Weights are fp32; `model.dtype` is what products are computed in. Rotary positions turn halves of a head (as
transformers does), so a checkpoint becomes a Hugging Face folder by renaming and splitting matrices alone.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gristmill.trainer.attention import KVCache, Mask, attend
from gristmill.trainer.config import LossSettings, ModelConfig
from gristmill.trainer.loss import Loss, chunked_loss, token_losses


class Linear(nn.Linear):
    """A linear map with fp32 weights that computes in its input's type."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class Norm(nn.Module):
    """RMSNorm (LLaMA), or LayerNorm with bias (GPT-2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.width))
        self.bias = nn.Parameter(torch.zeros(config.width)) if config.kind == "gpt2" else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if self.bias is None:
            return F.rms_norm(x, weight.shape, weight, self.eps)
        return F.layer_norm(x, weight.shape, weight, self.bias.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Grouped-query causal attention; queries, keys and values are one matrix, in this order."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        bias = config.kind == "gpt2"
        self.qkv = Linear(config.width, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=bias)
        self.out = Linear(config.width, config.width, bias=bias)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, mask: Mask, cache: KVCache | None, layer: int
    ) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if rotary is not None:
            qk = rotate(qk, *rotary)
        q, k = qk.split([self.heads, self.kv_heads], dim=2)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        out: Tensor = self.out(attend(q, k, v, mask).flatten(2))
        return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of a head's dimensions by its angle."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class FeedForward(nn.Module):
    """SwiGLU (gate and up are one matrix, in this order), or GPT-2's GELU with biases."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gated = config.kind == "llama"
        self.up = Linear(config.width, config.ffn * (2 if self.gated else 1), bias=not self.gated)
        self.down = Linear(config.ffn, config.width, bias=not self.gated)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            gate, up = self.up(x).chunk(2, dim=-1)
            inner = F.silu(gate) * up
        else:
            inner = F.gelu(self.up(x), approximate="tanh")
        out: Tensor = self.down(inner)
        return out


class Block(nn.Module):
    """Attention and feed-forward, each on a normed copy of the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm, self.attention = Norm(config), Attention(config)
        self.ffn_norm = Norm(config)
        self.ffn: nn.Module
        if config.num_experts:
            from gristmill.trainer.moe import Experts

            self.ffn = Experts(config)
        else:
            self.ffn = FeedForward(config)

    def forward(
        self, x: Tensor, rotary: Any, mask: Mask, cache: KVCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the residual stream and, with experts, this layer's auxiliary loss."""
        x = x + self.attention(self.attention_norm(x), rotary, mask, cache, self.layer)
        out = self.ffn(self.ffn_norm(x))
        out, auxiliary = out if isinstance(out, tuple) else (out, None)
        return x + out, auxiliary


class Model(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, self.dtype = config, torch.float32
        self.recompute = self.fuse_loss = False
        self.embed = nn.Embedding(config.padded_vocab, config.width)
        self.positions = nn.Embedding(config.context, config.width) if config.kind == "gpt2" else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = Norm(config)
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
    ) -> Any:
        """Return logits (B, T, vocab); with `targets` and `loss` a Loss; with `targets` alone per-token
        (nats, entropy).

        `last` computes the logits of the last position only.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
        x = F.embedding(tokens, self.embed.weight)
        if self.positions is not None:
            x = x + F.embedding(positions, self.positions.weight)
        x, rotary = x.to(self.dtype), self.rotary(positions)
        auxiliary = []
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x, extra = checkpoint(block, x, rotary, mask, use_reentrant=False)
            else:
                x, extra = block(x, rotary, mask, cache)
            auxiliary += [] if extra is None else [extra]
        if cache is not None:
            cache.length += tokens.shape[1]
        x = self.norm(x[:, -1:] if last else x)
        weight = self.embed.weight if self.head is None else self.head.weight
        if targets is None:
            return F.linear(x, weight.to(x.dtype))[..., : self.config.vocab]
        hidden, flat = x.flatten(0, 1), targets.flatten()
        if loss is None:
            return token_losses(hidden, weight, flat, self.config.vocab)
        total, nll = chunked_loss(hidden, weight, flat, self.config.vocab, scale, loss, self.fuse_loss)
        if (
            auxiliary
        ):  # weighted by this batch's share of the step's targets, so that it averages like the loss
            total = total + torch.stack(auxiliary).mean() * scale * (flat >= 0).sum()
        return Loss(total, nll)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return cosines and sines of shape (B, T, 1, head_dim / 2); angles are computed in fp32."""
        if self.positions is not None:
            return None
        pair = torch.arange(0, self.config.head_dim, 2, dtype=torch.float32, device=positions.device)
        angles = positions[..., None, None].float() * self.config.rope_theta ** (-pair / self.config.head_dim)
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)


@torch.no_grad()
def init_weights(model: Model, seed: int) -> None:
    """Draw every weight from its own generator, keyed by seed and name: the same for any sharding of the
    model.

    Normal, deviation 0.02; projections back into the residual stream 0.02 / sqrt(2 layers) (GPT-2); gains 1,
    biases 0.
    """
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif "norm" in name:
            parameter.fill_(1.0)
        else:
            residual = name.endswith(("attention.out.weight", "ffn.down.weight", "ffn.down"))
            deviation = 0.02 / math.sqrt(2 * model.config.num_layers) if residual else 0.02
            key = int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=7).digest(), "little")
            generator = torch.Generator().manual_seed(key)
            values = torch.empty(parameter.shape).normal_(0.0, deviation, generator=generator)
            assign(parameter, values)


@torch.no_grad()
def assign(parameter: Tensor, values: Tensor) -> None:
    """Copy full values into a parameter; a sharded one takes its own part."""
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        values = distribute_tensor(values.to(parameter.device), parameter.device_mesh, parameter.placements)  # type: ignore[attr-defined]
    parameter.copy_(values)


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
    torchtitan.
    """
    config = model.config
    n = num_parameters(model, active=True)
    n -= 0 if config.tied else config.vocab * config.width
    n -= config.context * config.width if config.kind == "gpt2" else 0
    return 6 * n + 12 * config.num_layers * config.width * config.context
