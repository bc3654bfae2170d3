"""Mistral: LLaMA with a sliding window in every layer (Jiang et al. 2023)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from gristmill.trainer.model.architectures.llama import Llama
from gristmill.trainer.model.shape import ModelConfig


class Mistral(Llama):
    kind = model_type = "mistral"
    hf_class = "MistralForCausalLM"
    options = frozenset({"head_width", "window"})
    presets: ClassVar = {}
    example = dataclasses.replace(Llama.example, kind="mistral", window=9)

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        values = super().to_hf(config) | {"sliding_window": config.window or None}
        return {key: value for key, value in values.items() if key not in ("attention_bias", "mlp_bias")}

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        return super().numbers(values) | {"window": values.get("sliding_window") or 0}
