"""The parts of a layer: linear maps, norms, attention and feed-forward, as an architecture's traits say.

Weights are fp32; products are computed in the type of the input. Rotary positions turn halves of a head (as
transformers does), so a checkpoint becomes a Hugging Face folder by renaming and splitting matrices alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gristmill.trainer.attention import KVCache, Mask, attend
from gristmill.trainer.moe import Experts, Routing
from gristmill.trainer.shape import ModelConfig, Traits


class Linear(nn.Linear):
    """A linear map with fp32 weights that computes in its input's type."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class Norm(nn.Module):
    """RMSNorm (LLaMA), or LayerNorm with bias (GPT-2)."""

    def __init__(self, config: ModelConfig, traits: Traits) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.width))
        self.bias = nn.Parameter(torch.zeros(config.width)) if traits.norm == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if self.bias is None:
            return F.rms_norm(x, weight.shape, weight, self.eps)
        return F.layer_norm(x, weight.shape, weight, self.bias.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Grouped-query causal attention; queries, keys and values are one matrix, in this order."""

    def __init__(self, config: ModelConfig, traits: Traits) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = Linear(config.width, rows, bias=traits.bias)
        self.out = Linear(self.heads * self.head_dim, config.width, bias=traits.bias)

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

    def __init__(self, config: ModelConfig, traits: Traits) -> None:
        super().__init__()
        self.gated, self.activation = traits.gated, traits.activation
        self.up = Linear(config.width, config.ffn * (2 if self.gated else 1), bias=traits.bias)
        self.down = Linear(config.ffn, config.width, bias=traits.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            gate, up = self.up(x).chunk(2, dim=-1)
            inner = self._activate(gate) * up
        else:
            inner = self._activate(self.up(x))
        out: Tensor = self.down(inner)
        return out

    def _activate(self, x: Tensor) -> Tensor:
        return F.silu(x) if self.activation == "silu" else F.gelu(x, approximate="tanh")


class Block(nn.Module):
    """Attention and feed-forward, each on a normed copy of the residual stream."""

    def __init__(self, config: ModelConfig, traits: Traits, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm, self.attention = Norm(config, traits), Attention(config, traits)
        self.ffn_norm = Norm(config, traits)
        self.ffn: nn.Module = Experts(config) if config.num_experts else FeedForward(config, traits)

    def forward(
        self, x: Tensor, rotary: Any, mask: Mask, cache: KVCache | None = None, real: Tensor | None = None
    ) -> tuple[Tensor, Routing | None]:
        """Return the residual stream and, with experts, what the router did with the `real` tokens."""
        x = x + self.attention(self.attention_norm(x), rotary, mask, cache, self.layer)
        inner, routing = self.ffn_norm(x), None
        if isinstance(self.ffn, Experts):
            out, routing = self.ffn(inner, real)
        else:
            out = self.ffn(inner)
        return x + out, routing
