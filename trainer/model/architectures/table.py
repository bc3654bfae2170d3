"""The architectures, one a row."""

from __future__ import annotations

from gristmill.trainer.fields import one_of
from gristmill.trainer.model.architectures.base import Architecture
from gristmill.trainer.model.architectures.gemma import Gemma, Gemma2, Gemma3
from gristmill.trainer.model.architectures.gpt2 import Gpt2
from gristmill.trainer.model.architectures.llama import Llama
from gristmill.trainer.model.architectures.mistral import Mistral
from gristmill.trainer.model.architectures.mixtral import Mixtral
from gristmill.trainer.model.architectures.olmo2 import Olmo2
from gristmill.trainer.model.architectures.olmo3 import Olmo3
from gristmill.trainer.model.architectures.qwen3 import Qwen3
from gristmill.trainer.model.architectures.smollm3 import SmolLM3
from gristmill.trainer.model.shape import ModelConfig

ARCHITECTURES: dict[str, Architecture] = {
    found.kind: found
    for found in (
        Gpt2(),
        Llama(),
        Mistral(),
        Mixtral(),
        Qwen3(),
        SmolLM3(),
        Olmo2(),
        Olmo3(),
        Gemma(),
        Gemma2(),
        Gemma3(),
    )
}


def architecture(config: ModelConfig) -> Architecture:
    """Return the architecture of a shape; an unknown kind, and a shape it does not have, are refused."""
    one_of("model.kind", config.kind, ARCHITECTURES)
    found = ARCHITECTURES[config.kind]
    found.check(config)
    return found


def of_model_type(model_type: str) -> Architecture | None:
    """Return the architecture that transformers calls so."""
    return next((found for found in ARCHITECTURES.values() if found.model_type == model_type), None)
