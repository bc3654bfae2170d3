"""Values that a model says of itself: within the bounds of what can be, or refused by name.

Compiled kernels take them for the bounds of memory, and estimates divide by them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from gristmill.errors import IntegrityError

_MOST = 1 << 62


def whole_number(card: Mapping[str, Any], name: str, where: Path, low: int, high: int = _MOST) -> int:
    """A whole number of a card in [low, high]; raises IntegrityError for anything else."""
    value = card.get(name)
    if not is_whole(value, low, high):
        raise damaged_card(where, f"`{name}` must be a whole number from {low:,} to {high:,}", value)
    return value


def is_whole(value: object, low: int, high: int = _MOST) -> TypeGuard[int]:
    """Whether a value of JSON is a whole number in [low, high]; `true` is none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def number(card: Mapping[str, Any], name: str, where: Path, low: float, high: float = math.inf) -> float:
    """A finite number of a card in [low, high]; raises IntegrityError for anything else."""
    value = card.get(name)
    if not is_number(value) or not low <= value <= high:  # type: ignore[operator]  # a number, as asked
        raise damaged_card(where, f"`{name}` must be a number from {low:g} to {high:g}", value)
    return float(value)  # type: ignore[arg-type]


def is_number(value: object) -> bool:
    """Whether a value of JSON is a finite number that a float can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_MOST <= value <= _MOST if isinstance(value, int) else math.isfinite(value)


def damaged_card(where: Path, what: str, found: object) -> IntegrityError:
    """What is wrong with a card, for all that read one."""
    return damaged_model(where, f"{what}, it is {ascii(found)[:60]}")


def damaged_model(where: Path, what: str) -> IntegrityError:
    """Name a file of a model that is not what was written."""
    return IntegrityError(
        f"the model is damaged: {what}",
        where=str(where),
        hint="train it again, or get a copy that is whole",
    )
