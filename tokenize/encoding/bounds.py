"""What a tokenizer file may state: libraries make tables as large as its ids and texts as long as its
replacements, and end the process where memory does not suffice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gristmill.errors import InputError

MOST_IDS = 1 << 24  # sixty times the largest vocabulary that is published
MOST_GROWTH = 64  # of a text, by all replacements of a normalizer one after the other


def check_ids(file: Path, ids: Collection[object]) -> None:
    """Raise InputError where an id is none below `MOST_IDS`."""
    for id_ in ids:
        if not isinstance(id_, int) or isinstance(id_, bool) or not 0 <= id_ < MOST_IDS:
            raise InputError(
                f"the tokenizer has the id {ascii(id_)[:40]}, ids are whole numbers from 0 to"
                f" {MOST_IDS - 1:,}",
                where=str(file),
                hint="the file is damaged, or no tokenizer: get another copy",
            )


def check_ranks(file: Path, rows: Collection[tuple[bytes, int]]) -> dict[bytes, int]:
    """The ranks of a rank file by token; raises InputError where two tokens have one, or one token two."""
    check_ids(file, [rank for _, rank in rows])
    ranks: dict[bytes, int] = {}
    taken: dict[int, bytes] = {}
    for token, rank in rows:
        if token in ranks or rank in taken:
            other = f"the rank {ranks[token]}, too" if token in ranks else f"that of {taken[rank]!r}"
            raise InputError(
                f"the rank of {ascii(token)[:60]} is {rank}, and {other}",
                where=str(file),
                hint="every token has a rank of its own: get another copy of the file",
            )
        ranks[token], taken[rank] = rank, token
    return ranks


def check_json(file: Path, config: Mapping[str, Any]) -> None:
    """Raise InputError for a tokenizer.json with ids beyond reason, or a normalizer that lets texts grow."""
    vocabulary = config["model"].get("vocab")
    check_ids(file, vocabulary.values() if isinstance(vocabulary, dict) else ())
    check_ids(file, [token.get("id") for token in config.get("added_tokens") or ()])
    if (growth := _growth(config.get("normalizer"))) > MOST_GROWTH:
        raise InputError(
            f"the tokenizer's normalizer may make a text {min(growth, 1e300):,.0f} times as long, more than"
            f" {MOST_GROWTH}",
            where=str(file),
            hint="its `Replace` steps put long strings in place of short ones",
        )


def _growth(normalizer: Any) -> float:
    """By how much a normalizer's replacements may lengthen a text, at most."""
    growth, waiting = 1.0, [normalizer]
    while waiting:
        step = waiting.pop()
        if not isinstance(step, dict):
            continue
        waiting += step.get("normalizers") or []
        if step.get("type") == "Replace" and isinstance(step.get("content"), str):
            pattern = step.get("pattern")
            found = pattern.get("String") if isinstance(pattern, dict) else None
            # A regular expression may match one character, or nothing before each.
            shortest = len(found) if isinstance(found, str) else 1
            growth = min(growth * max(1.0, len(step["content"]) / max(1, shortest)), 1e300)
    return growth
