"""GPT-2: LayerNorm, learned positions, GELU, biases everywhere, a tied head (Radford et al. 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

from gristmill.errors import UsageError
from gristmill.trainer.model.architectures.base import Architecture, Layout, MatrixPart
from gristmill.trainer.model.shape import ModelConfig, Traits


class Gpt2(Architecture):
    kind = model_type = "gpt2"
    hf_class = "GPT2LMHeadModel"
    traits = Traits(norm="layer", bias=True, learned_positions=True, gated=False, activation="gelu")
    presets: ClassVar = {
        "gpt2-124m": ModelConfig(  # 124,439,808 parameters
            "gpt2", vocab=50257, num_layers=12, width=768, num_heads=12, ffn=3072, context=1024
        ),
    }
    example = ModelConfig("gpt2", vocab=301, num_layers=2, width=48, num_heads=6, ffn=96, context=64)

    def check(self, config: ModelConfig) -> None:
        super().check(config)
        if not config.tied or config.num_kv_heads != config.num_heads:
            raise UsageError(
                "a gpt2 model is tied, with as many key-value heads as heads",
                hint='use kind "llama"',
            )

    def layout(self, config: ModelConfig) -> Layout:
        table = {
            "embed.weight": [MatrixPart("transformer.wte.weight", config.vocab)],
            "positions.weight": [MatrixPart("transformer.wpe.weight", config.context)],
        }
        maps = {
            "attention.qkv": ("attn.c_attn", 3 * config.width),
            "attention.out": ("attn.c_proj", config.width),
            "ffn.up": ("mlp.c_fc", config.ffn),
            "ffn.down": ("mlp.c_proj", config.width),
        }
        for i in range(config.num_layers):
            ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
            for kind in ("weight", "bias"):
                for norm, name in (("attention_norm", "ln_1"), ("ffn_norm", "ln_2")):
                    table[f"{ours}.{norm}.{kind}"] = [MatrixPart(f"{theirs}.{name}.{kind}", config.width)]
                for part, (name, rows) in maps.items():
                    table[f"{ours}.{part}.{kind}"] = [
                        MatrixPart(f"{theirs}.{name}.{kind}", rows, kind == "weight")
                    ]
        for kind in ("weight", "bias"):
            table[f"norm.{kind}"] = [MatrixPart(f"transformer.ln_f.{kind}", config.width)]
        return table

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        return {
            "n_embd": config.width, "n_layer": config.num_layers, "n_head": config.num_heads,
            "n_positions": config.context, "n_inner": config.ffn, "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_eps,
            "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
        }  # fmt: skip

    def from_hf(self, values: dict[str, Any]) -> ModelConfig:
        return ModelConfig(
            "gpt2", vocab=values["vocab_size"], num_layers=values["n_layer"], width=values["n_embd"],
            num_heads=values["n_head"], ffn=values.get("n_inner") or 4 * values["n_embd"],
            context=values["n_positions"], norm_eps=values["layer_norm_epsilon"],
        )  # fmt: skip

    def odd(self, values: dict[str, Any]) -> list[str]:
        found = {
            "activation_function": values.get("activation_function", "gelu_new")
            not in ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_by_inverse_layer_idx": bool(values.get("scale_attn_by_inverse_layer_idx")),
            "scale_attn_weights": not values.get("scale_attn_weights", True),
            "tie_word_embeddings": not values.get("tie_word_embeddings", True),
            "add_cross_attention": bool(values.get("add_cross_attention")),
            "quantization_config": bool(values.get("quantization_config")),
        }
        return [name for name, is_odd in found.items() if is_odd]
