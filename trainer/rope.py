"""Rotary positions: each pair (i, i + d/2) of a head's dimensions is turned by position x theta^(-2i/d)."""

from __future__ import annotations

import torch
from torch import Tensor

from gristmill.trainer.shape import ModelConfig

Rotary = tuple[Tensor, Tensor] | None  # cosines and sines; None: a layer without positions


def tables(config: ModelConfig, positions: Tensor, dtype: torch.dtype) -> list[Rotary]:
    """Return for each layer the cosines and sines of positions (B, T), shaped (B, T, 1, head_dim / 2).

    Angles are computed in fp32; layers of one base share their tables.
    """
    bases = [config.layer_theta(layer) for layer in range(config.num_layers)]
    found: dict[float, Rotary] = {0.0: None}
    for base in bases:
        if base not in found:
            angles = positions[..., None, None].float() * frequencies(config, base, positions.device)
            found[base] = angles.cos().to(dtype), angles.sin().to(dtype)
    return [found[base] for base in bases]


def frequencies(config: ModelConfig, base: float, device: torch.device) -> Tensor:
    """Return the angle per position of each pair, fp32."""
    pair = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device)
    return base ** (-pair / config.head_dim)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of a head's dimensions by its angle."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
