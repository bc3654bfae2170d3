"""Edits shown in place: what filters and cutting dedup took out of a text or put in, where it stood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gristmill.manifest import Manifest
from gristmill.pipeline.look.document.lookup import FoundRow, find_id, find_side, read_row
from gristmill.pipeline.stages.filter import FilterFacts

_WRITE_IT = "run the recipe again with `--set keep=steps` to see them in place"


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A stretch of text: `kind` is same, deleted or inserted; edits name their rule."""

    kind: str
    text: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class MarkedVersion:
    """One version of a text with its edits in place."""

    step: str
    version: int
    pieces: list[MarkedText]

    def as_json(self) -> dict[str, Any]:
        pieces = [{"kind": piece.kind, "text": piece.text, "rule": piece.rule} for piece in self.pieces]
        return {"step": self.step, "version": self.version, "pieces": pieces}


def passes_of(manifests: Mapping[str, Manifest], found: FoundRow, id_: bytes) -> list[MarkedVersion]:
    """Return every edited version of a document's text, over all steps that saw it before or where it
    stands."""
    shown: list[MarkedVersion] = []
    steps = list(manifests.values())
    at: FoundRow | None = None
    for manifest in steps:
        if at is not None and found.source in manifest.sources("decisions"):
            decision = find_side(manifest, "decisions", id_, found.source, at.position, at.row)
            if edits := named_edits(manifest, decision or {}):
                if at.written:
                    text = read_row(at.path, at.row, ("text",))["text"] or ""
                    shown += _versions(manifest, text, edits)
                else:
                    said = f"({len(edits)} edits in a text that was handed on; {_WRITE_IT})"
                    shown.append(MarkedVersion(manifest.step, 0, [MarkedText("same", said)]))
        if found.source in manifest.sources("documents"):
            at = find_id(manifest, id_, at.position if at else None, found.source)
        if manifest.step == found.step or (at is not None and at.outlet != "documents"):
            break
    return shown


def named_edits(manifest: Manifest, decision: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a decision's edits with their rule by name; steps that only cut have one rule, the step's
    own."""
    edits = decision.get("edits") or []
    names = manifest.stated(FilterFacts).rules
    if not names:
        return [{**edit, "rule": manifest.step} for edit in edits]
    return [{**edit, "rule": names[edit["rule"]]} for edit in edits]


def _versions(manifest: Manifest, text: str, edits: Sequence[Mapping[str, Any]]) -> Iterator[MarkedVersion]:
    """Edits of one version address the text that the version before left."""
    versions = manifest.stated(FilterFacts).edit_versions
    for version in sorted({versions.get(edit["rule"], 0) for edit in edits}):
        own = [edit for edit in edits if versions.get(edit["rule"], 0) == version]
        pieces = list(cut(text.encode(), own))
        text = "".join(piece.text for piece in pieces if piece.kind != "deleted")
        yield MarkedVersion(manifest.step, version, pieces)


def cut(data: bytes, edits: Sequence[Mapping[str, Any]]) -> Iterator[MarkedText]:
    """Cut a text at its edits; neighbouring deletions by one rule are one piece."""
    at = 0
    pending: MarkedText | None = None
    for edit in sorted(edits, key=lambda edit: (edit["start"], edit["end"])):
        if edit["start"] > at:
            if pending:
                yield pending
                pending = None
            yield MarkedText("same", data[at : edit["start"]].decode("utf-8", "replace"))
        rule, gone = edit["rule"], data[edit["start"] : edit["end"]].decode("utf-8", "replace")
        if pending and pending.rule == rule:
            pending = MarkedText("deleted", pending.text + gone, rule)
        else:
            if pending:
                yield pending
            pending = MarkedText("deleted", gone, rule)
        at = edit["end"]
        if edit.get("replacement"):
            yield pending
            pending = None
            yield MarkedText("inserted", edit["replacement"], rule)
    if pending:
        yield pending
    if at < len(data):
        yield MarkedText("same", data[at:].decode("utf-8", "replace"))
