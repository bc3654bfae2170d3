"""An architecture: what its models are made of, which shapes it takes, and how its checkpoints lie on disk.

A new one is a class in a file of its own and a row of `table.py`. Training, generation, `init`, `export-hf`
and the tests that hold logits equal to transformers' take it from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gristmill.errors import UsageError
from gristmill.trainer.model.shape import ModelConfig, Traits

if TYPE_CHECKING:  # settings are checked where torch need not be imported
    from torch import nn


@dataclass(frozen=True)
class MatrixPart:
    """`rows` rows of one of our matrices, under the name transformers gives them."""

    name: str
    rows: int
    transposed: bool = False  # GPT-2's Conv1D holds (in, out)
    offset: float = 0.0  # what ours has more: Gemma stores the gain of a norm less 1


OPTIONAL = frozenset(
    ("head_width", "window", "full_every", "rope_local_theta", "nope_every", "query_scalar",
     "attention_softcap", "logit_softcap", "num_experts", "rope_scaling")
)  # fmt: skip

Layout = dict[str, list[MatrixPart]]


class Architecture:
    """The interface; `kind` is its name here, `model_type` and `hf_class` its names in transformers."""

    kind: ClassVar[str]
    model_type: ClassVar[str]
    hf_class: ClassVar[str]
    traits: ClassVar[Traits] = Traits()
    options: ClassVar[frozenset[str]] = frozenset()  # which of the fields below its models may set
    presets: ClassVar[dict[str, ModelConfig]] = {}  # with the parameter counts they are known by
    example: ClassVar[ModelConfig]  # a tiny shape that uses everything the architecture has, for tests

    def check(self, config: ModelConfig) -> None:
        """Refuse a shape the architecture does not have: what is trained can always be handed over."""
        for name in OPTIONAL - self.options:
            if value := getattr(config, name):
                raise UsageError(f"a {self.kind} model has no `model.{name}`, got {value}")

    def block(self, config: ModelConfig, layer: int) -> nn.Module:
        """Return one layer: called with (x, rotary, mask, cache, real tokens), it returns (x, Routing or
        None)."""
        from gristmill.trainer.model.layers import TransformerBlock

        return TransformerBlock(config, self.traits, layer)

    def layout(self, config: ModelConfig) -> Layout:
        """Return, for each of our parameters, the parts it divides into, in the order of its rows."""
        raise NotImplementedError

    def to_hf(self, config: ModelConfig) -> dict[str, Any]:
        """Return the fields of config.json that say this shape, without those every model has."""
        raise NotImplementedError

    def from_hf(self, values: dict[str, Any]) -> ModelConfig:
        """Return the shape a config.json says."""
        raise NotImplementedError

    def odd(self, values: dict[str, Any]) -> list[str]:
        """Return the names of fields in a config.json whose values no model here can have."""
        return []
