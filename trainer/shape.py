"""The shape of a model: its numbers (`ModelConfig`), and what its architecture fixes (`Traits`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gristmill.errors import UsageError
from gristmill.trainer.fields import at_least


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
    norm_eps: float = 1e-5
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
        if self.width % self.num_heads or (self.width // self.num_heads) % 2:
            raise UsageError(
                f"`model.width` {self.width} does not split into {self.num_heads} heads of even size",
                hint="make width a multiple of 2 x num_heads",
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
        return self.width // self.num_heads

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
