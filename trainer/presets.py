"""Model shapes by name, with the parameter counts they are known by."""

from __future__ import annotations

import dataclasses
import difflib

from gristmill.errors import UsageError
from gristmill.trainer.config import ModelConfig

# vocabulary (0: the shards'), layers, width, heads, key-value heads, ffn, context, tied head, rope theta
_LLAMA: dict[str, tuple[int, int, int, int, int, int, int, bool, float]] = {
    # Small shapes of ours (15m: 13.8 M with a vocabulary of 8,192, 15.3 M with 12,288).
    "llama-15m": (0, 6, 384, 6, 6, 1024, 512, True, 1e4),
    "llama-60m": (0, 8, 640, 10, 5, 1792, 1024, True, 1e4),
    "llama-124m": (0, 12, 768, 12, 12, 2048, 1024, True, 1e4),
    "llama-350m": (0, 24, 1024, 16, 16, 2816, 2048, True, 1e4),
    "llama-1b": (0, 16, 2048, 32, 8, 8192, 2048, True, 5e5),  # Llama 3.2 1B
    # Grattafiori et al. 2024, table 3 (Llama 3): 8.03, 70.6 and 405.9 billion (8 KV heads).
    "llama-8b": (128256, 32, 4096, 32, 8, 14336, 8192, False, 5e5),
    "llama-70b": (128256, 80, 8192, 64, 8, 28672, 8192, False, 5e5),
    "llama-405b": (128256, 126, 16384, 128, 8, 53248, 8192, False, 5e5),
    # Jiang et al. 2024: 46.7 billion, 12.9 of them active.
    "mixtral-8x7b": (32000, 32, 4096, 32, 8, 14336, 8192, False, 1e6),
}

PRESETS: dict[str, ModelConfig] = {
    # Radford et al. 2019: 124,439,808 parameters.
    "gpt2-124m": ModelConfig(
        "gpt2", vocab=50257, num_layers=12, width=768, num_heads=12, ffn=3072, context=1024
    ),
    **{
        name: ModelConfig("llama", *row, num_experts=8 if name.startswith("mixtral") else 0)
        for name, row in _LLAMA.items()
    },
}


def preset(name: str, **changes: object) -> ModelConfig:
    """Return a named shape, with fields replaced; unknown names are refused with the nearest known one."""
    if name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PRESETS)}"
        raise UsageError(f"unknown model preset {name!r}", hint=hint)
    return dataclasses.replace(PRESETS[name], **changes)  # type: ignore[arg-type]
