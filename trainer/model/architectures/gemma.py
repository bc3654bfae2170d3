"""Gemma 1 to 3: scaled embeddings, GELU gates, gains stored less 1 (Gemma team 2024, 2024, 2025).

Gemma 2 adds norms after each part, a window in every other layer and soft caps; Gemma 3 norms queries and
keys instead of capping, and windows five of six layers, which turn positions by a base of their own; the
angles of the sixth may be stretched.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from gristmill.trainer.model.architectures.base import Layout, MatrixPart
from gristmill.trainer.model.architectures.llama import Llama, layer_pattern, layer_types, rope
from gristmill.trainer.model.architectures.olmo3 import by_kind, irregular
from gristmill.trainer.model.architectures.qwen3 import qk_norms
from gristmill.trainer.model.shape import ModelConfig, RopeScaling, Traits


class Gemma(Llama):
    kind = model_type = "gemma"
    hf_class = "GemmaForCausalLM"
    activation = "gelu_pytorch_tanh"
    traits = Traits(activation="gelu", embed_scaled=True)
    presets: ClassVar = {}
    example = dataclasses.replace(Llama.example, kind="gemma", tied=True, head_width=12)

    def layout(self, config: ModelConfig) -> Layout:
        table = super().layout(config)
        return {
            name: [dataclasses.replace(part, offset=1.0 if "norm" in name else 0.0) for part in parts]
            for name, parts in table.items()
        }

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        values = super().to_hf(config)
        return {key: value for key, value in values.items() if key != "mlp_bias"}

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        return super().numbers(values) | {"tied": values.get("tie_word_embeddings", True)}

    def odd(self, values: dict[str, Any]) -> list[str]:
        other = values.get("hidden_activation") or self.activation
        found = super().odd(values | {"hidden_act": self.activation})
        found += ["hidden_activation"] if other != self.activation else []
        return found + (["use_bidirectional_attention"] if values.get("use_bidirectional_attention") else [])


class Gemma2(Gemma):
    kind = model_type = "gemma2"
    hf_class = "Gemma2ForCausalLM"
    every = 2
    traits = Traits(activation="gelu", embed_scaled=True, norms="both")
    options = frozenset(
        ("head_width", "window", "full_every", "query_scalar", "attention_softcap", "logit_softcap")
    )
    example = dataclasses.replace(
        Gemma.example, kind="gemma2", num_layers=4, window=9, full_every=2, query_scalar=20.0,
        attention_softcap=3.0, logit_softcap=2.0,
    )  # fmt: skip

    def norms(self, config: ModelConfig) -> Layout:
        names = {
            "attention_norm": "input", "attention_out_norm": "post_attention",
            "ffn_norm": "pre_feedforward", "ffn_out_norm": "post_feedforward",
        }  # fmt: skip
        return {
            f"{ours}.weight": [MatrixPart(f"{theirs}_layernorm.weight", config.width)]
            for ours, theirs in names.items()
        }

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        scalar = config.query_scalar or config.head_dim
        return super().to_hf(config) | {
            "hidden_activation": self.activation,
            "query_pre_attn_scalar": int(scalar) if scalar == int(scalar) else scalar,
            "attn_logit_softcapping": config.attention_softcap or None,
            "final_logit_softcapping": config.logit_softcap or None,
            "sliding_window": config.window or None,
            "layer_types": layer_types(config),
        }

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        found = super().numbers(values)
        head = found["head_width"] or found["width"] / found["num_heads"]
        scalar = float(values["query_pre_attn_scalar"])
        return found | layer_pattern(values, self.every) | {
            "query_scalar": 0.0 if scalar == head else scalar,
            "attention_softcap": float(values.get("attn_logit_softcapping") or 0.0),
            "logit_softcap": float(values.get("final_logit_softcapping") or 0.0),
        }  # fmt: skip

    def odd(self, values: dict[str, Any]) -> list[str]:
        return super().odd(values) + irregular(self, values)


class Gemma3(Gemma2):
    kind, model_type = "gemma3", "gemma3_text"
    hf_class = "Gemma3ForCausalLM"
    every = 6
    legacy_theta = 1e6
    traits = Traits(activation="gelu", embed_scaled=True, norms="both", qk_norm="head")
    options = Gemma2.options - {"attention_softcap"} | {"rope_local_theta", "rope_scaling"}
    example = dataclasses.replace(
        Gemma2.example, kind="gemma3", num_layers=6, full_every=3, rope_local_theta=100.0, rope_theta=1e6,
        attention_softcap=0.0, rope_scaling=RopeScaling("linear", 8.0),
    )  # fmt: skip

    def attention(self, config: ModelConfig) -> Layout:
        return super().attention(config) | qk_norms(config.head_dim, config.head_dim)

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        local = config.rope_local_theta or config.rope_theta
        found = by_kind(super().to_hf(config), local)
        return found | {"rope_local_base_freq": local}  # transformers v4

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        found, local = super().numbers(values), values.get("rope_local_base_freq")
        local = float(local or rope(values, "sliding_attention").get("rope_theta", 1e4))
        return found | {"rope_local_theta": 0.0 if local == found["rope_theta"] else local}

    def odd(self, values: dict[str, Any]) -> list[str]:
        capped = ["attn_logit_softcapping"] if values.get("attn_logit_softcapping") else []
        return super().odd(values) + capped
