"""SmolLM3: LLaMA of which every fourth layer turns no positions in (Bakouch et al. 2025)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from gristmill.trainer.model.architectures.llama import Llama
from gristmill.trainer.model.shape import ModelConfig


class SmolLM3(Llama):
    kind = model_type = "smollm3"
    hf_class = "SmolLM3ForCausalLM"
    options = frozenset({"nope_every", "rope_scaling"})
    legacy_theta = 2e6
    presets: ClassVar = {
        "smollm3-3b": ModelConfig(  # 3,075 million
            "smollm3", vocab=128256, num_layers=36, width=2048, num_heads=16, num_kv_heads=4, ffn=11008,
            context=65536, rope_theta=5e6, norm_eps=1e-6, nope_every=4,
        ),
    }  # fmt: skip
    example = dataclasses.replace(Llama.example, kind="smollm3", num_layers=4, nope_every=2)

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        rotated = [int(config.layer_theta(layer) > 0) for layer in range(config.num_layers)]
        return super().to_hf(config) | {
            "no_rope_layers": rotated,
            "no_rope_layer_interval": config.nope_every,
            "use_sliding_window": False,
            "sliding_window": None,
        }

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        rotated = values.get("no_rope_layers")
        every = rotated.index(0) + 1 if rotated and 0 in rotated else values.get("no_rope_layer_interval", 4)
        return super().numbers(values) | {"nope_every": 0 if rotated and 0 not in rotated else every}

    def odd(self, values: dict[str, Any]) -> list[str]:
        rotated = values.get("no_rope_layers")
        every = self.numbers(values)["nope_every"]
        regular = [int(not every or (i + 1) % every > 0) for i in range(values["num_hidden_layers"])]
        return super().odd(values) + (["no_rope_layers"] if rotated and rotated != regular else [])
