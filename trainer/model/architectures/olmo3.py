"""OLMo 3: OLMo 2 with a sliding window in three of four layers (OLMo team 2025)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from gristmill.trainer.model.architectures.llama import Llama, layer_pattern, layer_types
from gristmill.trainer.model.architectures.olmo2 import Olmo2
from gristmill.trainer.model.shape import ModelConfig


class Olmo3(Olmo2):
    kind = model_type = "olmo3"
    hf_class = "Olmo3ForCausalLM"
    options = frozenset({"window", "full_every"})
    legacy_theta = 5e5
    presets: ClassVar = {}
    example = dataclasses.replace(Llama.example, kind="olmo3", num_layers=4, window=9, full_every=4)

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        return super().to_hf(config) | {
            "sliding_window": config.window or None,
            "layer_types": layer_types(config),
            "rope_parameters": {
                kind: {"rope_type": "default", "rope_theta": config.rope_theta}
                for kind in ("full_attention", "sliding_attention")
            },
        }

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        return super().numbers(values) | layer_pattern(values, 4)

    def odd(self, values: dict[str, Any]) -> list[str]:
        return super().odd(values) + irregular(self, values)


def irregular(found: Llama, values: dict[str, Any]) -> list[str]:
    """Return `layer_types` where windowed and full layers do not follow each other regularly."""
    config = ModelConfig(found.kind, **found.numbers(values))
    types = values.get("layer_types")
    return ["layer_types"] if types and types != layer_types(config) else []
