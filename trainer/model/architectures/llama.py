"""LLaMA: RMSNorm before each part, rotary positions, SwiGLU, grouped queries (Touvron et al. 2023).

What transformers calls the same in its many descendants (`model.layers.{i}.self_attn.q_proj`, …) is said
here once; they derive from this class and say what differs.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gristmill.trainer.model.architectures.base import Architecture, Layout, MatrixPart
from gristmill.trainer.model.shape import ModelConfig, RopeScaling, ntk_theta

# How transformers stretches rotary angles, with the fields of each kind beside factor and original context.
SCALINGS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "yarn": ("beta_fast", "beta_slow", "attention_factor"),
    "llama3": ("low_freq_factor", "high_freq_factor"),
}


class Llama(Architecture):
    kind = model_type = "llama"
    hf_class = "LlamaForCausalLM"
    options = frozenset({"head_width", "rope_scaling"})
    activation = "silu"
    legacy_theta = 1e4  # what transformers 4 took where a config.json says none
    presets: ClassVar = {
        # Allal et al. 2025 (SmolLM2): 135, 362 and 1,711 million.
        "smollm2-135m": ModelConfig(
            vocab=49152, num_layers=30, width=576, num_heads=9, num_kv_heads=3, ffn=1536, context=8192,
            rope_theta=1e5,
        ),
        "smollm2-360m": ModelConfig(
            vocab=49152, num_layers=32, width=960, num_heads=15, num_kv_heads=5, ffn=2560, context=8192,
            rope_theta=1e5,
        ),
        "smollm2-1.7b": ModelConfig(
            vocab=49152, num_layers=24, width=2048, num_heads=32, ffn=8192, context=8192, rope_theta=1.3e5
        ),
        # Small shapes of ours (15m: 13.8 M with a vocabulary of 8,192, 15.3 M with 12,288).
        "llama-15m": ModelConfig(),
        "llama-60m": ModelConfig(
            num_layers=8, width=640, num_heads=10, num_kv_heads=5, ffn=1792, context=1024
        ),
        "llama-124m": ModelConfig(num_layers=12, width=768, num_heads=12, ffn=2048, context=1024),
        "llama-350m": ModelConfig(num_layers=24, width=1024, num_heads=16, ffn=2816, context=2048),
        "llama-1b": ModelConfig(  # Llama 3.2 1B
            num_layers=16, width=2048, num_heads=32, num_kv_heads=8, ffn=8192, context=2048, rope_theta=5e5
        ),
        # Grattafiori et al. 2024, table 3 (Llama 3): 8.03, 70.6 and 405.9 billion (8 KV heads).
        "llama-8b": ModelConfig(
            vocab=128256, num_layers=32, width=4096, num_heads=32, num_kv_heads=8, ffn=14336, context=8192,
            tied=False, rope_theta=5e5,
        ),
        "llama-70b": ModelConfig(
            vocab=128256, num_layers=80, width=8192, num_heads=64, num_kv_heads=8, ffn=28672, context=8192,
            tied=False, rope_theta=5e5,
        ),
        "llama-405b": ModelConfig(
            vocab=128256, num_layers=126, width=16384, num_heads=128, num_kv_heads=8, ffn=53248, context=8192,
            tied=False, rope_theta=5e5,
        ),
    }  # fmt: skip
    example = ModelConfig(
        vocab=301, num_layers=2, width=48, num_heads=6, num_kv_heads=2, ffn=96, context=64, tied=False
    )

    def layout(self, config: ModelConfig) -> Layout:
        table = {
            "embed.weight": [MatrixPart("model.embed_tokens.weight", config.vocab)],
            "norm.weight": [MatrixPart("model.norm.weight", config.width)],
        }
        if not config.tied:
            table["head.weight"] = [MatrixPart("lm_head.weight", config.vocab)]
        for i in range(config.num_layers):
            for part in (self.norms(config), self.attention(config), self.feed_forward(config)):
                table |= {
                    f"blocks.{i}.{ours}": [
                        MatrixPart(f"model.layers.{i}.{piece.name}", piece.rows, piece.transposed)
                        for piece in theirs
                    ]
                    for ours, theirs in part.items()
                }
        return table

    def norms(self, config: ModelConfig) -> Layout:
        """Return the layout of one layer's norms, names relative to the layer; so do the next two."""
        return {
            "attention_norm.weight": [MatrixPart("input_layernorm.weight", config.width)],
            "ffn_norm.weight": [MatrixPart("post_attention_layernorm.weight", config.width)],
        }

    def attention(self, config: ModelConfig) -> Layout:
        q, kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        rows = {"q": q, "k": kv, "v": kv}
        return {
            "attention.qkv.weight": [MatrixPart(f"self_attn.{x}_proj.weight", n) for x, n in rows.items()],
            "attention.out.weight": [MatrixPart("self_attn.o_proj.weight", config.width)],
        }

    def feed_forward(self, config: ModelConfig) -> Layout:
        return {
            "ffn.up.weight": [MatrixPart(f"mlp.{x}_proj.weight", config.ffn) for x in ("gate", "up")],
            "ffn.down.weight": [MatrixPart("mlp.down_proj.weight", config.width)],
        }

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        return {
            "hidden_size": config.width, "intermediate_size": config.ffn,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads, "num_key_value_heads": config.num_kv_heads,
            "head_dim": config.head_dim,
            "hidden_act": self.activation, "max_position_embeddings": config.context,
            "rms_norm_eps": config.norm_eps,
            "attention_bias": False, "mlp_bias": False,
        } | _rope_to_hf(config)  # fmt: skip

    def from_hf(self, values: dict[str, Any]) -> ModelConfig:
        return ModelConfig(self.kind, **self.numbers(values))

    def numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of `ModelConfig` that a config.json of this family gives."""
        return dict(
            vocab=values["vocab_size"], num_layers=values["num_hidden_layers"], width=values["hidden_size"],
            num_heads=values["num_attention_heads"], num_kv_heads=values.get("num_key_value_heads") or 0,
            ffn=values["intermediate_size"], context=values["max_position_embeddings"],
            tied=values.get("tie_word_embeddings", False),
            rope_theta=float(values.get("rope_theta") or rope(values).get("rope_theta", self.legacy_theta)),
            rope_scaling=_rope_from_hf(rope(values), values["max_position_embeddings"]),
            norm_eps=values["rms_norm_eps"],
            head_width=_unless(
                values.get("head_dim") or 0, values["hidden_size"] / values["num_attention_heads"]
            ),
        )  # fmt: skip

    def odd(self, values: dict[str, Any]) -> list[str]:
        scaled = _rope_type(rope(values))
        known = ("default", *(SCALINGS if "rope_scaling" in self.options else ()))
        found = {
            f"rope_type {scaled}": scaled not in known,
            "mscale": bool(rope(values).get("mscale")) and not rope(values).get("attention_factor"),
            "truncate": not rope(values).get("truncate", True),
            "partial_rotary_factor": _partial(values),
            "quantization_config": bool(values.get("quantization_config")),
            "hidden_act": values.get("hidden_act", self.activation) != self.activation,
            "attention_bias": bool(values.get("attention_bias")),
            "mlp_bias": bool(values.get("mlp_bias")),
            "sliding_window": "window" not in self.options and _slides(values),
        }
        return [name for name, is_odd in found.items() if is_odd]


def _rope_type(said: dict[str, Any]) -> str:
    return str(said.get("rope_type", said.get("type", "default")))


def _partial(values: dict[str, Any]) -> bool:
    said = (values.get("partial_rotary_factor"), rope(values).get("partial_rotary_factor"))
    return any(part not in (None, 1) for part in said)


def _rope_from_hf(said: dict[str, Any], context: int) -> RopeScaling:
    """Return what a config.json says of stretched angles."""
    kind = _rope_type(said)
    if kind not in SCALINGS:
        return RopeScaling()
    names = ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor")
    found = {name: float(said[name]) for name in names if name in SCALINGS[kind] and said.get(name)}
    original = int(said.get("original_max_position_embeddings") or context)
    return RopeScaling(kind, float(said["factor"]), original if kind != "linear" else 0, **found)  # type: ignore[arg-type]


def _rope_to_hf(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of config.json on rotary positions, as transformers 5 and 4 spell them."""
    scaling, theta = config.rope_scaling, config.rope_theta
    if scaling.kind == "ntk":  # a larger base says it all
        scaling, theta = RopeScaling(), ntk_theta(theta, scaling.factor, config.head_dim)
    if not scaling:
        return {"rope_theta": theta, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    said: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    said |= {name: getattr(scaling, name) for name in SCALINGS[scaling.kind] if getattr(scaling, name)}
    if scaling.original_context:
        said["original_max_position_embeddings"] = scaling.original_context
    both = said | {"rope_theta": theta}
    return {"rope_theta": theta, "rope_scaling": said, "rope_parameters": both}


def _slides(values: dict[str, Any]) -> bool:
    if "layer_types" in values:
        return "sliding_attention" in (values["layer_types"] or [])
    return bool(values.get("sliding_window")) and values.get("use_sliding_window", True)


def _unless(value: Any, usual: Any) -> Any:
    """Return a value, or 0 where it is what 0 stands for."""
    return 0 if value == usual else value


def layer_pattern(values: dict[str, Any], default: int) -> dict[str, Any]:
    """Return `window` and `full_every` as a config.json says, by `default` where it is silent."""
    layers = values["num_hidden_layers"]
    types = values.get("layer_types")
    full = [i for i in range(layers) if types[i] == "full_attention"] if types else []
    every = (full[0] + 1 if full else 0) if types else values.get("sliding_window_pattern", default)
    return {"window": values["sliding_window"] or 0, "full_every": every if values["sliding_window"] else 0}


def layer_types(config: ModelConfig) -> list[str]:
    """Return the kind of each layer's attention as transformers names it."""
    kinds = {True: "sliding_attention", False: "full_attention"}
    return [kinds[config.layer_window(layer) > 0] for layer in range(config.num_layers)]


def rope(values: dict[str, Any], kind: str = "full_attention") -> dict[str, Any]:
    """Return what a config.json says of rotary positions, of layers of one kind where they differ, as
    transformers 5 or 4 spells it."""
    said = values.get("rope_parameters") or values.get("rope_scaling") or {}
    found: dict[str, Any] = said.get(kind, said)
    return found
