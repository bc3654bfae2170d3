"""OLMo 3: OLMo 2 with a sliding window in three of four layers; the fourth is stretched (OLMo team 2025)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from gristmill.trainer.model.architectures.llama import Llama, layer_pattern, layer_types, rope
from gristmill.trainer.model.architectures.olmo2 import Olmo2
from gristmill.trainer.model.shape import ModelConfig, RopeScaling


class Olmo3(Olmo2):
    kind = model_type = "olmo3"
    hf_class = "Olmo3ForCausalLM"
    options = frozenset({"window", "full_every", "rope_scaling"})
    legacy_theta = 5e5
    presets: ClassVar = {}
    example = dataclasses.replace(
        Llama.example, kind="olmo3", num_layers=4, window=9, full_every=4,
        rope_scaling=RopeScaling("yarn", 4.0, 16, beta_fast=8.0, beta_slow=0.5),
    )  # fmt: skip

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        return by_kind(super().to_hf(config), config.rope_theta) | {
            "sliding_window": config.window or None,
            "layer_types": layer_types(config),
        }

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        return super().numbers(values) | layer_pattern(values, 4)

    def odd(self, values: dict[str, Any]) -> list[str]:
        found = super().odd(values) + irregular(self, values)
        theta = rope(values, "sliding_attention").get("rope_theta")
        own = theta is not None and float(theta) != self.numbers(values)["rope_theta"]
        return found + (["rope_theta of windowed layers"] if own else [])


def by_kind(said: dict[str, Any], local_theta: float) -> dict[str, Any]:
    """Return fields of a config.json with rotary positions as those of full layers, and plain ones for
    windowed layers."""
    windowed = {"rope_type": "default", "rope_theta": local_theta}
    kinds = {"full_attention": said["rope_parameters"], "sliding_attention": windowed}
    return said | {"rope_parameters": kinds}


def irregular(found: Llama, values: dict[str, Any]) -> list[str]:
    """Return `layer_types` where windowed and full layers do not follow each other regularly, and what
    stretches the angles of windowed layers."""
    config = ModelConfig(found.kind, **found.numbers(values))
    types = values.get("layer_types")
    odd = ["layer_types"] if types and types != layer_types(config) else []
    own = (values.get("rope_parameters") or {}).get("sliding_attention") or {}
    kind = own.get("rope_type", "default")
    return odd + ([f"rope_type {kind} of windowed layers"] if kind != "default" else [])
