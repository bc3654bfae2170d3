"""The balance of tokens: from bytes of text to places of training steps, with nothing unaccounted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gristmill.errors import UsageError
from gristmill.pipeline.look.printing.figures import amount, count, share, size
from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.look.token_balance import token_balance
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, join, note, table, tag

_COLUMNS = ("encoded", "heldout", "distinct", "unused", "shards")
_HEADS = ("source", "text", "tokens made of it", "held out", "in shards, once", "in none", "in shards")


def balance_section(view: RunView) -> PageSection | None:
    """The same figures as `gristmill shards balance` prints."""
    manifests = {step.name: step.manifest for step in view.steps if step.manifest}
    try:
        found = token_balance(manifests)
    except UsageError:  # no mixture yet
        return None
    rows = [_row(row) for row in found["sources"]]
    if len(found["sources"]) > 1:
        sums = {name: sum(row[name] for row in found["sources"]) for name in ("text_bytes", *_COLUMNS)}
        rows.append(_row({"source": "all", **sums}))
    body: list[Html] = [table(_HEADS, rows, sortable=False)]
    if off := sum(abs(row["difference"]) for row in found["sources"]):
        body.append(tag("p", f"{count(off)} tokens are not accounted for: this is a defect."))
    if failed := sum(row["failed_documents"] for row in found["sources"]):
        body.append(note(f"{count(failed)} documents that no encoder takes have no tokens."))
    if lost := sum(row["lost_documents"] for row in found["sources"]):
        said = f"{count(lost)} documents have no tokens: the tasks that were to encode them were lost."
        body.append(note(said))
    if trained := found.get("training"):
        body += _training(trained)
    lead = "Every token, from the text it is made of to the training step that reads it."
    return PageSection("balance", "Token balance", join(body), lead)


def _row(row: Mapping[str, Any]) -> list[object]:
    numbers = [Cell(count(row[name]), row[name]) for name in _COLUMNS]
    return [tag("bdi", row["source"]), Cell(size(row["text_bytes"]), row["text_bytes"]), *numbers]


def _training(own: Mapping[str, Any]) -> list[Html]:
    rows = [
        ["tokens in shards", own["shards"], own["shards"], "shards"],
        ["of them a target at least once", own["seen"], own["shards"], "shards"],
        ["never seen", own["never_seen"], own["shards"], "shards"],
        ["places in steps", own["places"], own["places"], "places"],
        ["targets, repetitions counted", own["in_steps"], own["places"], "places"],
        ["padded: no token, loss masked", own["padded"], own["places"], "places"],
        ["masked: a token, left out of the loss", own["masked"], own["places"], "places"],
        ["skipped: in steps not taken", own["skipped"], own["places"], "places"],
    ]
    cells = [
        [name, Cell(count(part), part), f"{share(part, whole)} of {unit}"] for name, part, whole, unit in rows
    ]
    said = f"Training read {amount(own['in_steps'])} tokens, {own['epochs']:.3f} epochs of the shards."
    made = [tag("p", said), table(["in training", "tokens", ""], cells, sortable=False)]
    if own["difference"]:
        made.append(tag("p", f"{count(own['difference'])} tokens are not accounted for: this is a defect."))
    return made
