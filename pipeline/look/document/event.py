"""What one step did with a document, as `why` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gristmill.manifest import Manifest
from gristmill.pipeline.run.losses import spell_lost


@dataclass(slots=True)
class Event:
    """What one step did with the document; `facts` are plain values, `rules` and `edits` rows of their
    own."""

    step: str
    outcome: str
    facts: dict[str, Any] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)
    edits: list[dict[str, Any]] = field(default_factory=list)


def lost(manifest: Manifest) -> Event:
    """Of a step that read the document's source and has no row of it."""
    if manifest.lost:
        note = f"the step is {spell_lost(manifest)}; the same run tries them again"
    else:
        note = "the step read this source and has no row of the document: run `gristmill verify`"
    return Event(manifest.step, "lost", {"note": note})


def reason(row: Mapping[str, Any]) -> dict[str, Any]:
    """Why a document was let go, as its row says."""
    return {
        name: row[name]
        for name in ("rule", "value", "bound", "error", "message")
        if row.get(name) is not None
    }
