"""Rotary positions: each pair (i, i + d/2) of a head's dimensions is turned by position x theta^(-2i/d).

`rope_scaling` stretches them for a longer context: all alike (linear, Chen et al. 2023), by a larger base
(NTK-aware), by how often a pair turns within the original context (YaRN, Peng et al. 2023, which sharpens
attention too), or by its wavelength (Llama 3.1); all but NTK as transformers computes them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gristmill.trainer.model.shape import ModelConfig, RopeScaling, ntk_theta

Rotary = tuple[Tensor, Tensor] | None  # cosines and sines; None: a layer without positions


def tables(config: ModelConfig, positions: Tensor) -> list[Rotary]:
    """Return for each layer the cosines and sines of positions (B, T), shaped (B, T, 1, head_dim / 2).

    All in fp32: rounded to bf16, one distance scores otherwise at every position (Wang et al. 2024). Layers
    of one base and scaling share their tables.
    """
    layers = range(config.num_layers)
    kinds = [(config.layer_theta(layer), config.layer_scaling(layer)) for layer in layers]
    found: dict[tuple[float, RopeScaling], Rotary] = {}
    for base, scaling in kinds:
        if (base, scaling) in found:
            continue
        if not base:
            found[base, scaling] = None
            continue
        turns = frequencies(scaling, base, config.head_dim, positions.device)
        angles = positions[..., None, None].float() * turns
        sharper = sharpening(scaling)
        found[base, scaling] = angles.cos() * sharper, angles.sin() * sharper
    return [found[kind] for kind in kinds]


def frequencies(scaling: RopeScaling, base: float, dim: int, device: torch.device) -> Tensor:
    """Return the angle per position of each pair of `dim` numbers, fp32."""
    if scaling.kind == "ntk":
        base = ntk_theta(base, scaling.factor, dim)
    pair = torch.arange(0, dim, 2, dtype=torch.float32, device=device)
    plain = base ** (-pair / dim)
    if scaling.kind == "linear":
        return plain / scaling.factor
    if scaling.kind == "yarn":
        kept = 1 - _between(pair / 2, *_turning(scaling, base, dim))
    elif scaling.kind == "llama3":
        turns = scaling.original_context * plain / (2 * math.pi)
        kept = _between(turns, scaling.low_freq_factor, scaling.high_freq_factor)
    else:
        return plain
    return plain * kept + plain / scaling.factor * (1 - kept)


def sharpening(scaling: RopeScaling) -> float:
    """Return what cosines and sines are multiplied by."""
    if scaling.kind != "yarn":
        return 1.0
    return scaling.attention_factor or (0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0)


def _turning(scaling: RopeScaling, base: float, dim: int) -> tuple[float, float]:
    """Return between which pairs YaRN goes from angles as they were to stretched ones."""

    def pair(turns: float) -> float:
        return dim * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(pair(scaling.beta_fast)), 0)
    high = min(math.ceil(pair(scaling.beta_slow)), dim - 1)
    return low, high if high != low else high + 0.001


def _between(values: Tensor, low: float, high: float) -> Tensor:
    return ((values - low) / (high - low)).clamp(0, 1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of a head's dimensions by its angle, in fp32, and round once."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
