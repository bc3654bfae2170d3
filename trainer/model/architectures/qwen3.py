"""Qwen3: LLaMA whose queries and keys are normed per head before they are rotated (Yang et al. 2025)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from gristmill.trainer.model.architectures.base import Layout, MatrixPart
from gristmill.trainer.model.architectures.llama import Llama
from gristmill.trainer.model.shape import ModelConfig, Traits

SMALL = ModelConfig(
    "qwen3", vocab=151936, num_layers=28, width=1024, num_heads=16, num_kv_heads=8, head_width=128, ffn=3072,
    context=32768, rope_theta=1e6, norm_eps=1e-6,
)  # fmt: skip


class Qwen3(Llama):
    kind = model_type = "qwen3"
    hf_class = "Qwen3ForCausalLM"
    traits = Traits(qk_norm="head")
    presets: ClassVar = {  # 596, 1,721 and 4,022 million
        "qwen3-0.6b": SMALL,
        "qwen3-1.7b": dataclasses.replace(SMALL, width=2048, ffn=6144),
        "qwen3-4b": dataclasses.replace(SMALL, num_layers=36, width=2560, num_heads=32, ffn=9728),
    }
    example = dataclasses.replace(Llama.example, kind="qwen3", head_width=12)

    def attention(self, config: ModelConfig) -> Layout:
        return super().attention(config) | qk_norms(config.head_dim, config.head_dim)


def qk_norms(q: int, k: int) -> Layout:
    """Return where the gains of normed queries and keys lie, given their numbers."""
    return {
        f"attention.{x}_norm.weight": [MatrixPart(f"self_attn.{x}_norm.weight", rows)]
        for x, rows in (("q", q), ("k", k))
    }
