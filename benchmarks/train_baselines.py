"""The two loops the trainer is measured against: a plain one in nanoGPT's manner, and transformers' Llama.

The plain loop is ours, written for this comparison after nanoGPT's train.py: autocast, full logits into
cross_entropy, torch's fused AdamW, clipped gradients. Both have the shape, batch, data and precision of the
trainer's run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gristmill.trainer.model.shape import ModelConfig

Step = Callable[[Tensor, Tensor], Tensor]


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-5)


class Block(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        kv = c.num_kv_heads * c.head_dim
        self.c, self.norm1, self.norm2 = c, RMSNorm(c.width), RMSNorm(c.width)
        self.q, self.out = nn.Linear(c.width, c.width, bias=False), nn.Linear(c.width, c.width, bias=False)
        self.k, self.v = nn.Linear(c.width, kv, bias=False), nn.Linear(c.width, kv, bias=False)
        self.gate, self.up = nn.Linear(c.width, c.ffn, bias=False), nn.Linear(c.width, c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, c.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        h = self.norm1(x)
        q, k, v = (
            layer(h).unflatten(-1, (-1, self.c.head_dim)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
        x = x + self.out(y.transpose(1, 2).flatten(2))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


class PlainLlama(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(c.vocab, c.width)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.num_layers))
        self.norm = RMSNorm(c.width)
        self.head = nn.Linear(c.width, c.vocab, bias=False)
        if c.tied:
            self.head.weight = self.embed.weight
        angles = torch.outer(
            torch.arange(c.context).float(), c.rope_theta ** (-torch.arange(0, c.head_dim, 2) / c.head_dim)
        )
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def plain_step(config: ModelConfig, device: torch.device, dtype: torch.dtype, compiled: bool) -> Step:
    model: Any = PlainLlama(config).to(device)
    return _loop(model, torch.compile(model) if compiled else model, device, dtype)


def transformers_step(config: ModelConfig, device: torch.device, dtype: torch.dtype, compiled: bool) -> Step:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: Any = LlamaConfig(
        vocab_size=config.vocab, hidden_size=config.width, intermediate_size=config.ffn,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads, num_key_value_heads=config.num_kv_heads,
        max_position_embeddings=config.context,
        tie_word_embeddings=config.tied, rms_norm_eps=config.norm_eps, use_cache=False,
        attn_implementation="sdpa",
    )  # fmt: skip
    model: Any = LlamaForCausalLM(shape).to(device)
    forward = torch.compile(model) if compiled else model

    def loss(tokens: Tensor, targets: Tensor) -> Tensor:
        logits = forward(input_ids=tokens).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return _loop(model, loss, device, dtype)


def _loop(model: nn.Module, loss_of: Callable[..., Any], device: torch.device, dtype: torch.dtype) -> Step:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )

    def step(tokens: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = loss_of(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step
