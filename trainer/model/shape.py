"""The shape of a model: its numbers (`ModelConfig`), and what its architecture fixes (`Traits`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gristmill.errors import UsageError
from gristmill.trainer.fields import at_least


@dataclass(frozen=True)
class RopeScaling:
    """How rotary angles are stretched for a longer context than a model was trained at (`rope.py`)."""

    kind: Literal["none", "linear", "ntk", "yarn", "llama3"] = "none"
    factor: float = 1.0  # how many times the context grows
    original_context: int = 0  # of the model before; 0: of the folder it starts from (yarn, llama3)
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0  # yarn: turns in the original context above which nothing is stretched
    beta_slow: float = 1.0  # and below which everything is
    attention_factor: float = 0.0  # yarn: of cosines and sines; 0: 0.1 ln(factor) + 1

    def __post_init__(self) -> None:
        at_least("model.rope_scaling.factor", self.factor, 1)
        at_least("model.rope_scaling.original_context", self.original_context, 0)
        if self.kind == "none" and self.factor != 1:
            raise UsageError("`model.rope_scaling.factor` needs a kind: linear, ntk, yarn or llama3")
        if not self.low_freq_factor < self.high_freq_factor or not self.beta_slow < self.beta_fast:
            raise UsageError("of `model.rope_scaling` low_freq_factor and beta_slow must be the lower ones")

    def __bool__(self) -> bool:
        return self.kind != "none"


@dataclass(frozen=True)
class ModelConfig:
    """The numbers of a decoder; `kind` names its architecture, a row of `architectures/table.py`.

    A llama with `num_experts` above 0 is a mixtral.
    """

    kind: str = "llama"
    vocab: int = 0  # 0: taken from the shards
    num_layers: int = 6
    width: int = 384
    num_heads: int = 6
    num_kv_heads: int = 0  # 0: as many as heads
    ffn: int = 1024
    context: int = 512  # tokens; learned positions and the rotary table end here
    tied: bool = True
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling = RopeScaling()
    norm_eps: float = 1e-5
    head_width: int = 0  # 0: width / num_heads
    window: int = 0  # tokens a windowed layer sees, itself counted; 0: every layer sees all before it
    full_every: int = 0  # with a window: every so many-th layer has none; 0: all have it
    rope_local_theta: float = 0.0  # of windowed layers; 0: rope_theta
    nope_every: int = 0  # every so many-th layer turns no positions in; 0: none
    query_scalar: float = 0.0  # scores are divided by its root; 0: the head's width
    attention_softcap: float = 0.0  # c tanh(score / c); 0: off
    logit_softcap: float = 0.0  # the same for the head's logits
    num_experts: int = 0  # 0: dense
    experts_per_token: int = 2
    balance_weight: float = 0.01  # OLMoE
    router_z_weight: float = 0.001  # OLMoE, ST-MoE

    def __post_init__(self) -> None:
        if self.num_kv_heads == 0:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        if self.kind == "llama" and self.num_experts:
            object.__setattr__(self, "kind", "mixtral")
        for name in ("num_layers", "width", "num_heads", "ffn", "context"):
            at_least(f"model.{name}", getattr(self, name), 1)
        at_least("model.vocab", self.vocab, 0)
        for name in ("window", "full_every", "nope_every", "attention_softcap", "logit_softcap"):
            at_least(f"model.{name}", getattr(self, name), 0)
        if (not self.head_width and self.width % self.num_heads) or self.head_dim % 2:
            raise UsageError(
                f"`model.width` {self.width} does not split into {self.num_heads} heads of even size",
                hint="make width a multiple of 2 x num_heads, or say head_width",
            )
        if self.num_heads % self.num_kv_heads:
            raise UsageError(
                f"`model.num_kv_heads` must divide num_heads {self.num_heads}, got {self.num_kv_heads}"
            )
        if self.num_experts and not 1 <= self.experts_per_token <= self.num_experts:
            raise UsageError(
                f"`model.experts_per_token` must be 1 to {self.num_experts}, got {self.experts_per_token}"
            )

    @property
    def head_dim(self) -> int:
        return self.head_width or self.width // self.num_heads

    def layer_window(self, layer: int) -> int:
        """Return how many tokens a layer sees; 0: all."""
        return 0 if self.full_every and (layer + 1) % self.full_every == 0 else self.window

    def layer_theta(self, layer: int) -> float:
        """Return the base of a layer's rotary angles; 0: its queries and keys are not rotated."""
        if self.nope_every and (layer + 1) % self.nope_every == 0:
            return 0.0
        return (self.rope_local_theta if self.layer_window(layer) else 0.0) or self.rope_theta

    def layer_scaling(self, layer: int) -> RopeScaling:
        """Return how a layer's rotary angles are stretched: what a window bounds sees no longer context
        (OLMo 3, Gemma 3)."""
        return RopeScaling() if self.layer_window(layer) else self.rope_scaling

    @property
    def windows(self) -> tuple[int, ...]:
        """The windows that occur among the layers, 0 for none."""
        return tuple(sorted({self.layer_window(layer) for layer in range(self.num_layers)}))

    @property
    def padded_vocab(self) -> int:
        """Rows of the embedding: a multiple of 64, so that the head's matrix product is aligned (nanoGPT)."""
        return -(-self.vocab // 64) * 64


@dataclass(frozen=True)
class Traits:
    """What all models of an architecture share beside their numbers; the defaults are LLaMA's."""

    norm: Literal["rms", "layer"] = "rms"
    bias: bool = False  # of linear maps and of layer norms
    learned_positions: bool = False  # an embedding added to the input, instead of rotated queries and keys
    gated: bool = True  # activation(gate) * up, gate and up one matrix; else activation(up)
    activation: Literal["silu", "gelu"] = "silu"  # gelu by its tanh form (GPT-2, Gemma)
    norms: Literal["before", "after", "both"] = "before"  # of attention and of feed-forward (OLMo 2, Gemma 2)
    qk_norm: Literal["", "head", "whole"] = ""  # of each head's (Qwen3), or all (OLMo 2), queries and keys
    embed_scaled: bool = False  # embeddings are multiplied by the root of the width (Gemma)


def ntk_theta(base: float, factor: float, dim: int) -> float:
    """Return the base at which the slowest pair turns `factor` times slower and the fastest as before."""
    return float(base * factor ** (dim / (dim - 2)))
