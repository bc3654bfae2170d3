"""The balance of tokens: from bytes of text to tokens in shards and in training, with nothing unaccounted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gristmill.errors import UsageError
from gristmill.manifest import Manifest
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.pipeline.stages.tokenizer import EncodeFacts
from gristmill.pipeline.stages.train import TrainFacts


def token_balance(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Account for every token of a run, by source, and for training as a whole.

    Per source: bytes of text that came to be encoded, tokens made of it (end tokens counted), of those held
    out, in training shards without repetition, and in none (`unused`: the budget had no room). `shards` is
    what the training shards hold, repetitions counted. `difference` is 0 when nothing is missing; documents
    that no encoder takes (`failed_documents`) and those of tasks that were given up (`lost_documents`) came
    to no tokens.
    """
    mixed = manifests.get("mix")
    facts = mixed.stated(MixFacts) if mixed else MixFacts()
    if not facts.distinct_tokens:
        raise UsageError("the run holds no mixture to balance", hint="run its recipe up to `mix`")
    heldout = {row["name"]: row["tokens"] for row in facts.heldout}
    rows = []
    for row in facts.table:
        name = row["name"]
        encoding = manifests[f"encode/{name}"]
        encoded = encoding.stated(EncodeFacts)
        distinct, size = facts.distinct_tokens[name], facts.sizes[name]
        rows.append(
            {
                "source": name,
                "text_bytes": encoded.bytes,
                "failed_documents": encoded.failed,
                "lost_documents": sum(fact["documents"] or 0 for fact in encoding.lost),
                "encoded": encoded.tokens,
                "heldout": heldout.get(name, 0),
                "distinct": distinct,
                "unused": size - distinct,
                "shards": row["tokens"],
                "difference": encoded.tokens - heldout.get(name, 0) - size,
            }
        )
    found: dict[str, Any] = {"sources": rows}
    if trained := manifests.get("train"):
        found["training"] = training_balance(trained, sum(row["shards"] for row in rows))
    return found


def training_balance(trained: Manifest, shards: int) -> dict[str, Any] | None:
    """What training read of the shards: `places` of its steps = `in_steps` + `padded`; `shards` = `seen` +
    `never_seen`; `difference` is 0 when both hold and training read what the mixture wrote.

    `masked` are tokens in steps that the loss leaves out, `skipped` those of steps that were not taken.
    None for a training of a version that did not count.
    """
    own = trained.stated(TrainFacts).balance
    if not own:
        return None
    off = abs(own["shards"] - shards) + abs(own["places"] - own["in_steps"] - own["padded"] - own["masked"])
    off += abs(own["shards"] - own["seen"] - own["never_seen"])
    return {**own, "epochs": own["in_steps"] / shards if shards else 0.0, "difference": off}
