"""Mixtral: LLaMA with experts in place of the feed-forward part (Jiang et al. 2024)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from gristmill.errors import UsageError
from gristmill.trainer.model.architectures.base import Layout, MatrixPart
from gristmill.trainer.model.architectures.llama import Llama
from gristmill.trainer.model.shape import ModelConfig


class Mixtral(Llama):
    kind = model_type = "mixtral"
    hf_class = "MixtralForCausalLM"
    options = Llama.options | {"num_experts"}
    presets: ClassVar = {
        "mixtral-8x7b": ModelConfig(  # 46.7 billion, 12.9 of them active
            "mixtral", vocab=32000, num_layers=32, width=4096, num_heads=32, num_kv_heads=8, ffn=14336,
            context=8192, tied=False, rope_theta=1e6, num_experts=8,
        ),
    }  # fmt: skip
    example = dataclasses.replace(
        Llama.example, kind="mixtral", num_kv_heads=3, num_experts=4, rope_theta=1e6
    )

    def check(self, config: ModelConfig) -> None:
        super().check(config)
        if not config.num_experts:
            raise UsageError("a mixtral model has experts: `model.num_experts` must be at least 1")

    def feed_forward(self, config: ModelConfig) -> Layout:
        moe = "block_sparse_moe"  # the names on disk; transformers v5 renames them as it loads
        experts = range(config.num_experts)
        return {
            "ffn.router.weight": [MatrixPart(f"{moe}.gate.weight", config.num_experts)],
            "ffn.up": [
                MatrixPart(f"{moe}.experts.{e}.{x}.weight", config.ffn) for e in experts for x in ("w1", "w3")
            ],
            "ffn.down": [MatrixPart(f"{moe}.experts.{e}.w2.weight", config.width) for e in experts],
        }

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        values = super().to_hf(config) | {
            "num_local_experts": config.num_experts,
            "num_experts_per_tok": config.experts_per_token,
            "router_aux_loss_coef": config.balance_weight,
            "sliding_window": None,
        }
        return {key: value for key, value in values.items() if key not in ("attention_bias", "mlp_bias")}

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        return super().numbers(values) | {
            "num_experts": values["num_local_experts"],
            "experts_per_token": values.get("num_experts_per_tok", 2),
        }
