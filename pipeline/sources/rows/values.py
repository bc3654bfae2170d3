"""Values of rows as text, as JSON and as numbers: with every digit they were written with, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from gristmill.pipeline.sources.wellformed import clean_text

_MAX_INT64 = (1 << 63) - 1


def exact_number(literal: str) -> float | Decimal:
    """Read a JSON number with a point or exponent: a float where that is the very number, else all its
    digits."""
    number = float(literal)
    try:
        written = Decimal(literal)
    except InvalidOperation:  # an exponent of more than eighteen digits
        return number
    return number if written == Decimal(repr(number)) else written


def exact_integer(literal: str) -> int | Decimal:
    """Read a JSON integer; one of more digits than Python turns into an `int` keeps them as decimal."""
    try:
        return int(literal)
    except ValueError:
        return Decimal(literal)


def holds_float(value: Any) -> bool:
    """Whether a value read by a fast parser may have lost digits: it is, or holds, a float."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, float):
            return True
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return False


def as_text(value: Any) -> str:
    """Spell a value as a string column holds it: strings as they are, dates in ISO 8601, the rest as JSON."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").replace("\0", "\ufffd")
    return as_json(value)


def as_json(value: Any) -> str:
    """Spell a value as JSON, keys sorted, decimals digit by digit; raises RecursionError for nesting without
    end."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_refuse_decimal)
    except (_HoldsDecimal, TypeError):  # TypeError: keys of several types cannot be sorted
        text = _spell(value)
    return clean_text(text)


def as_int64(value: Any) -> int | None:
    """Return an integer that a 64-bit column can hold, None for anything else."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            return None
    if isinstance(value, float | Decimal):
        number = Decimal(value)
        # Before `int` makes gigabytes of an exponent; `nan` and `inf` are no integers either.
        if not number.is_finite() or number.adjusted() > 18 or number != number.to_integral_value():
            return None
        value = int(number)
    if not isinstance(value, int):
        return None
    whole = int(value)  # a truth value is 0 or 1: Arrow takes none among integers
    return whole if -_MAX_INT64 - 1 <= whole <= _MAX_INT64 else None


def as_float64(value: Any) -> float | None:
    try:
        return None if isinstance(value, bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def as_bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


class _HoldsDecimal(Exception):
    pass


def _refuse_decimal(value: Any) -> str:
    if isinstance(value, Decimal):
        raise _HoldsDecimal
    return as_text(value) if isinstance(value, datetime | date | bytes) else str(value)


def _spell(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        items = sorted((str(key), item) for key, item in value.items())
        return "{" + ", ".join(f"{_spell(key)}: {_spell(item)}" for key, item in items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_spell, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=_refuse_decimal)
