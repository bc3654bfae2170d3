"""OLMo 2: norms after attention and feed-forward, and over all queries and all keys (OLMo team 2025)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from gristmill.trainer.model.architectures.base import Layout, MatrixPart
from gristmill.trainer.model.architectures.llama import Llama
from gristmill.trainer.model.architectures.qwen3 import qk_norms
from gristmill.trainer.model.shape import ModelConfig, Traits

ONE = ModelConfig(
    "olmo2", vocab=100352, num_layers=16, width=2048, num_heads=16, ffn=8192, context=4096, tied=False,
    rope_theta=5e5, norm_eps=1e-6,
)  # fmt: skip


class Olmo2(Llama):
    kind = model_type = "olmo2"
    hf_class = "Olmo2ForCausalLM"
    traits = Traits(norms="after", qk_norm="whole")
    options = frozenset({"rope_scaling"})
    presets: ClassVar = {  # 1,485 and 7,299 million
        "olmo2-1b": ONE,
        "olmo2-7b": dataclasses.replace(
            ONE, num_layers=32, width=4096, num_heads=32, num_kv_heads=32, ffn=11008
        ),
    }
    example = dataclasses.replace(Llama.example, kind="olmo2")

    def norms(self, config: ModelConfig) -> Layout:
        return {
            "attention_out_norm.weight": [MatrixPart("post_attention_layernorm.weight", config.width)],
            "ffn_out_norm.weight": [MatrixPart("post_feedforward_layernorm.weight", config.width)],
        }

    def attention(self, config: ModelConfig) -> Layout:
        q, k = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        return super().attention(config) | qk_norms(q, k)

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        values = super().to_hf(config)
        return {key: value for key, value in values.items() if key not in ("head_dim", "mlp_bias")}
