"""The balance of tokens: from bytes of text to tokens in shards and in training, with nothing unaccounted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gristmill.errors import UsageError
from gristmill.manifest import Manifest


def token_balance(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Account for every token of a run, by source, and for training as a whole.

    Per source: bytes of text that came to be encoded, tokens made of it (end tokens counted), of those held
    out, in training shards without repetition, and in none (`unused`: the budget had no room). `shards` is
    what the training shards hold, repetitions counted. `difference` is 0 when nothing is missing.
    """
    mixed = manifests.get("mix")
    if mixed is None or "distinct_tokens" not in mixed.extra:
        raise UsageError("the run holds no mixture to balance", hint="run its recipe up to `mix`")
    heldout = {row["name"]: row["tokens"] for row in mixed.extra["heldout"]}
    rows = []
    for row in mixed.extra["table"]:
        name = row["name"]
        encoded = manifests[f"encode/{name}"].extra
        distinct = mixed.extra["distinct_tokens"][name]
        size = mixed.extra["sizes"][name]
        rows.append(
            {
                "source": name,
                "text_bytes": encoded["bytes"],
                "failed_documents": encoded.get("failed", 0),
                "encoded": encoded["tokens"],
                "heldout": heldout.get(name, 0),
                "distinct": distinct,
                "unused": size - distinct,
                "shards": row["tokens"],
                "difference": encoded["tokens"] - heldout.get(name, 0) - size,
            }
        )
    found: dict[str, Any] = {"sources": rows}
    if trained := manifests.get("train"):
        held = sum(row["shards"] for row in rows)
        seen = int(trained.extra.get("tokens", 0))
        found["training"] = {
            "shards": held,
            "in_steps": seen,
            "epochs": seen / held if held else 0.0,
            "never_seen": max(0, held - seen),
        }
    return found
