"""How numbers are spelled, and how text from the web is made harmless for one line of a terminal or a
page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from gristmill.files.inside import inert

_UNITS = ("", "k", "M", "G", "T", "P")
_MARKS = {code: f"\\u{code:04x}" for code in (0x200E, 0x200F, 0x061C)}


def one_line(text: str, most: int | None = None) -> str:
    """Make text inert and put it on one line, cut with an ellipsis after `most` characters.

    Marks that only hint at a direction are at home in running text of some scripts; in a name or an address
    they mislead.
    """
    line = " ".join(inert(text).translate(_MARKS).split())
    return line if most is None or len(line) <= most else line[: most - 1] + "…"


def count(number: float) -> str:
    return f"{number:,.0f}"


def short(number: float, unit: str = "") -> str:
    """Spell a large number with three digits and a letter: 1.23 M, 45.6 k."""
    size, power = abs(number), 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    value = math.copysign(size, number)
    digits = 0 if (power == 0 and float(number).is_integer()) or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:.{digits}f} {_UNITS[power]}{unit}".rstrip()


def amount(number: float) -> str:
    """Spell a number in full as long as a reader takes it in at a glance, then short."""
    return count(number) if abs(number) < 1_000_000 else short(number)


def tick(value: float) -> str:
    """Spell a number on an axis: no more digits than it needs."""
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}".replace("e-0", "e-").replace(".0e", "e")
    if abs(value) < 10_000:
        return number(value)
    digits, _, unit = short(value).partition(" ")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits} {unit}"


def size(num_bytes: float) -> str:
    return short(num_bytes, "B")


def share(part: float, whole: float) -> str:
    """Spell a part of a whole in per cent; nothing of nothing is a dash."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return (
        f"{percent:.0f} %"
        if percent in (0.0, 100.0)
        else f"{percent:.2g} %"
        if percent < 1
        else f"{percent:.1f} %"
    )


def number(value: object) -> str:
    """Spell a value or bound of a rule as short as it is exact enough to compare."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    if 1e4 <= abs(value) < 1e15:  # four digits would lose some before the point
        return f"{value:,.1f}"
    return f"{value:.4g}"


def measured(rule: object, value: object) -> str:
    """Spell a rule's value: a number, and the days that `age.day` counts since 1970 as a date."""
    if rule == "age.day" and isinstance(value, int | float) and abs(value) < 1e6:
        return str(date(1970, 1, 1) + timedelta(days=int(value)))
    return number(value)


def bound(of: Mapping[str, Any]) -> str:
    """Spell what a value must be for its document to stay."""
    signs = {"min": "≥", "above": ">", "max": "≤", "below": "<"}
    return ", ".join(
        f"{sign} {measured(of['rule'], of[side])}" for side, sign in signs.items() if of[side] is not None
    )
