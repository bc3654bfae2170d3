"""Frozen settings dataclasses from plain values: unknown keys and wrong values are named.

Only torch and numpy are needed to import the trainer, so its settings are dataclasses and not pydantic
models.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from typing import Any, Literal, TypeVar

from gristmill.errors import UsageError

T = TypeVar("T")


def from_dict(kind: type[T], values: dict[str, Any], at: str = "") -> T:
    """Build a settings dataclass from plain values; an unknown key or a wrong type is an error that names its
    place."""
    if not isinstance(values, dict):
        name = {"model.": "preset"}.get(at, "name" if "name" in typing.get_type_hints(kind) else "")
        raise UsageError(
            f"`{at.rstrip('.') or 'settings'}` must be a mapping, got {values!r}",
            hint=f"did you mean `{at}{name}={values}`?" if name and isinstance(values, str) else None,
        )
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            raise UsageError(
                f"unknown setting `{at}{key}`",
                hint=f"did you mean `{at}{near[0]}`?" if near else f"known: {', '.join(hints)}",
            )
    return kind(**{key: _typed(hints[key], value, at + key) for key, value in values.items()})


def at_least(name: str, value: float, bound: float) -> None:
    """Refuse a value below its bound."""
    if not value >= bound:
        raise UsageError(f"`{name}` must be at least {bound}, got {value}")


def fraction(name: str, value: float) -> None:
    """Refuse a value outside 0 to 1, with what it may have meant as a percentage."""
    if not 0.0 <= value <= 1.0:
        hint = f"it is a fraction; did you mean {value / 100}?" if 1.0 < value <= 100 else None
        raise UsageError(f"`{name}` must lie between 0.0 and 1.0, got {value}", hint=hint)


def one_of(name: str, value: Any, known: typing.Iterable[str], what: str = "") -> None:
    """Refuse a name that is none of the known ones, with the nearest of them."""
    known = list(known)
    if value not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise UsageError(f"unknown {what or f'`{name}`'} {value!r}", hint=hint)


def _typed(hint: Any, value: Any, at: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, f"{at}.")  # type: ignore[arg-type]
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise UsageError(f"`{at}` must be one of {', '.join(typing.get_args(hint))}, got {value!r}")
        return value
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        if kinds[1:] == (...,):
            if not isinstance(value, (list, tuple)):
                raise UsageError(
                    f"`{at}` must be a list, got {value!r}", hint=f'did you mean `{at}=["{value}"]`?'
                )
            return tuple(_typed(kinds[0], part, at) for part in value)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise UsageError(f"`{at}` must be a list of {len(kinds)} numbers, got {value!r}")
        return tuple(_typed(kind, part, at) for kind, part in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"`{at}` must be a finite number, got {value!r}")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UsageError(f"`{at}` must be of type {hint.__name__}, got {value!r}")
    return value
