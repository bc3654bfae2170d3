"""What came out of a mixture beside what was asked: each source's share, and why one is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TOLERANCE = 0.01  # of a source's share, relative


def add_realised(
    rows: Sequence[dict[str, Any]],
    proportions: Mapping[str, float],
    asked: Mapping[str, int],
    reasons: Mapping[str, str],
) -> None:
    """Set `proportion` and `asked_tokens` as asked, `realised` as written, and `missed` where they differ by
    more than `TOLERANCE`: why.

    A source may be off because of itself, or because another one gives too little: shares are of the whole.
    """
    whole = sum(row["tokens"] for row in rows)
    for row in rows:
        name, share = row["name"], proportions.get(row["name"])
        if share is None:
            continue
        row["proportion"], row["asked_tokens"] = share, asked[name]
        row["realised"] = row["tokens"] / whole if whole else 0.0
        if abs(row["realised"] - share) > TOLERANCE * share:
            row["missed"] = reasons.get(name) or _by_others(name, row["tokens"], asked[name], reasons)


def _by_others(name: str, tokens: int, asked: int, reasons: Mapping[str, str]) -> str:
    others = [other for other, reason in reasons.items() if reason and other != name]
    if tokens == asked and others:
        return f"{' and '.join(f'`{other}`' for other in others)} gave too little"
    return "its tokens are too few to be a whole number of them"


def misses(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each source that is off, for whoever looks at a mixture."""
    return [
        f"{row['name']} is {100 * row['realised']:.3g} % of the tokens, asked were"
        f" {100 * row['proportion']:.3g} %: {row['missed']}"
        for row in rows
        if "missed" in row
    ]
