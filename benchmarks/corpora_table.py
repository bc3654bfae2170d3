"""The table of docs/corpora.md: of each original's code, how much is the same as it is, how much given the
same words, and what every other difference is.

`corpora.py --table` prints it from the kept result. A comparison is {compared, agree, classes} and may hold
others: `same_words`, of texts in which both read the same words; `same_hashes`, with the peer's hash
functions besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

WITHIN = ("same_words", "same_hashes")
Told = Mapping[str, Any]


def share(told: Told) -> float:
    return float(told["agree"] / told["compared"]) if told["compared"] else 1.0


def table(details: Mapping[str, Told]) -> Iterator[str]:
    """Markdown, a row for each comparison; the classes are those of the strictest comparison that still
    differs, those of texts as they are before them."""
    yield "| original | as it is | given the same words | its hash functions too | what differs |"
    yield "|---|---|---|---|---|"
    for name, told in details.items():
        cells = [_shown(told), *(_shown(told[within]) if within in told else "" for within in WITHIN)]
        yield f"| {name} | {' | '.join(cells)} | {_classes(told)} |"


def _shown(told: Told) -> str:
    number = f"{told['agree']:,} of {told['compared']:,}"
    if "same_text" in told:
        number += f"; texts {told['same_text']} of {told['kept_by_both']}"
    return number if told["agree"] == told["compared"] else f"{number} ({share(told):.2%})"


def _classes(told: Told) -> str:
    said = _counted(told["classes"])
    for within, given in zip(WITHIN, ("given the same words", "given its hash functions"), strict=True):
        if within in told and told[within]["classes"]:
            said += f"; {given}: {_counted(told[within]['classes'])}"
        if "by_another_seed_of_ours" in told.get(within, {}):
            inner = told[within]
            said += f" (ours by another seed: {inner['by_another_seed_of_ours']} of {inner['compared']})"
    return said or "nothing"


def _counted(classes: Mapping[str, int]) -> str:
    return "; ".join(f"{name} ({number})" for name, number in classes.items())
