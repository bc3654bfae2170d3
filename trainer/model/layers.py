"""The parts of a layer: linear maps, norms, attention and feed-forward, as an architecture's traits say.

Weights are fp32; products are computed in the type of the input. Rotary positions turn halves of a head (as
transformers does), so a checkpoint becomes a Hugging Face folder by renaming and splitting matrices alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gristmill.trainer.model.attention import KVCache, Mask, Scores, attend
from gristmill.trainer.model.moe import Experts, Routing
from gristmill.trainer.model.recompute import recomputed
from gristmill.trainer.model.rope import Rotary, rotate
from gristmill.trainer.model.shape import ModelConfig, Traits


class Linear(nn.Linear):
    """A linear map with fp32 weights that computes in its input's type."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class Norm(nn.Module):
    """RMSNorm (LLaMA), or LayerNorm with bias (GPT-2), over the last `width` numbers."""

    def __init__(self, config: ModelConfig, traits: Traits, width: int = 0) -> None:
        super().__init__()
        self.eps, width = config.norm_eps, width or config.width
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if traits.norm == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if self.bias is None:
            return F.rms_norm(x, weight.shape, weight, self.eps)
        return F.layer_norm(x, weight.shape, weight, self.bias.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Grouped-query causal attention; queries, keys and values are one matrix, in this order."""

    def __init__(self, config: ModelConfig, traits: Traits, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = Linear(config.width, rows, bias=traits.bias)
        self.out = Linear(self.heads * self.head_dim, config.width, bias=traits.bias)
        scale = (config.query_scalar or config.head_dim) ** -0.5
        self.scores = Scores(scale, config.attention_softcap, config.layer_window(layer))
        self.norm_heads = traits.qk_norm == "head"
        widths = (self.heads * self.head_dim, self.kv_heads * self.head_dim)
        self.q_norm, self.k_norm = (
            Norm(config, traits, self.head_dim if self.norm_heads else width) if traits.qk_norm else None
            for width in widths
        )

    def forward(self, x: Tensor, rotary: Rotary, mask: Mask, cache: KVCache | None, layer: int) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if self.q_norm is not None:
            qk = self._normed(qk)
        if rotary is not None:
            qk = rotate(qk, *rotary)
        q, k = qk.split([self.heads, self.kv_heads], dim=2)
        if cache is not None:
            k, v = cache.append(layer, k, v)
        out: Tensor = self.out(attend(q, k, v, mask, self.scores).flatten(2))
        return out

    def _normed(self, qk: Tensor) -> Tensor:
        parts = torch.split(qk, [self.heads, self.kv_heads], dim=2)
        norms: list[Any] = [self.q_norm, self.k_norm]
        if self.norm_heads:
            return torch.cat([norm(part) for norm, part in zip(norms, parts, strict=True)], dim=2)
        flat = [norm(part.flatten(2)).view_as(part) for norm, part in zip(norms, parts, strict=True)]
        return torch.cat(flat, dim=2)


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


class TransformerBlock(nn.Module):
    """Attention and feed-forward, added to the residual stream; normed before, after or both."""

    def __init__(self, config: ModelConfig, traits: Traits, layer: int) -> None:
        super().__init__()
        self.layer, self.selective = layer, False
        before, after = traits.norms != "after", traits.norms != "before"
        self.attention_norm = Norm(config, traits) if before else None
        self.attention = Attention(config, traits, layer)
        self.attention_out_norm = Norm(config, traits) if after else None
        self.ffn_norm = Norm(config, traits) if before else None
        self.ffn_out_norm = Norm(config, traits) if after else None
        self.ffn: nn.Module = Experts(config) if config.num_experts else FeedForward(config, traits)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        mask: Mask,
        cache: KVCache | None = None,
        real: Tensor | None = None,
    ) -> tuple[Tensor, Routing | None]:
        """Return the residual stream and, with experts, what the router did with the `real` tokens."""
        if self.selective and torch.is_grad_enabled():
            found: tuple[Tensor, Routing | None] = recomputed(
                self._forward, "selective", x, rotary, mask, cache, real
            )
            return found
        return self._forward(x, rotary, mask, cache, real)

    def _forward(
        self, x: Tensor, rotary: Rotary, mask: Mask, cache: KVCache | None, real: Tensor | None
    ) -> tuple[Tensor, Routing | None]:
        inner = x if self.attention_norm is None else self.attention_norm(x)
        out = self.attention(inner, rotary, mask, cache, self.layer)
        x = x + (out if self.attention_out_norm is None else self.attention_out_norm(out))
        inner, routing = x if self.ffn_norm is None else self.ffn_norm(x), None
        if isinstance(self.ffn, Experts):
            out, routing = self.ffn(inner, real)
        else:
            out = self.ffn(inner)
        return x + (out if self.ffn_out_norm is None else self.ffn_out_norm(out)), routing
