"""Model shapes by name; each stands with its architecture."""

from __future__ import annotations

import dataclasses

from gristmill.trainer.fields import one_of
from gristmill.trainer.model.architectures.table import ARCHITECTURES
from gristmill.trainer.model.shape import ModelConfig

PRESETS: dict[str, ModelConfig] = {
    name: config for found in ARCHITECTURES.values() for name, config in found.presets.items()
}


def preset(name: str, **changes: object) -> ModelConfig:
    """Return a named shape, with fields replaced; unknown names are refused with the nearest known one."""
    one_of("model.preset", name, PRESETS, "model preset")
    return dataclasses.replace(PRESETS[name], **changes)  # type: ignore[arg-type]
