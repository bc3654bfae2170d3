"""A document's life in the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from gristmill.pipeline.report.figures import number, one_line
from gristmill.pipeline.report.life import Event, Life
from gristmill.pipeline.report.terminal import Paper, facts, rows

_STYLES = {"kept": "green", "removed": "red", "failed": "red", "lost": "red", "in shard": "green", "encoded": "green"}
_SHOWN_EDITS, _SHOWN_OTHERS = 12, 5


def as_json(life: Life) -> str:
    return json.dumps(asdict(life), ensure_ascii=True, default=plain)  # ASCII: no escape sequence reaches a terminal


def plain(value: Any) -> str:
    """What JSON has no form for: dates, and paths."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def tell(life: Life, paper: Paper | None = None) -> Iterator[str]:
    """Say the verdict first, then step by step how it came about."""
    paper = paper or Paper()
    yield paper.paint(one_line(life.url or life.id or life.asked), "bold")
    if life.url and life.id:
        yield paper.paint(f"id {life.id}", "dim")
    yield life.verdict
    for event in life.events:
        yield ""
        yield from _tell_event(event, paper)
    if life.others:
        more = " …" if len(life.others) > _SHOWN_OTHERS else ""
        yield ""
        yield f"This URL has {len(life.others)} more records; ask by id: {', '.join(life.others[:_SHOWN_OTHERS])}{more}"


def _tell_event(event: Event, paper: Paper) -> Iterator[str]:
    yield f"{paper.paint(event.step, 'bold')}  {paper.paint(event.outcome, _STYLES.get(event.outcome, 'yellow'))}"
    yield from facts(paper, event.facts)
    if event.rules:
        shown = []
        for rule in event.rules:
            said = "fails" if rule["fails"] else "" if rule["applies"] else "not this language"
            shown.append([rule["rule"], number(rule["value"]), rule["bound"], said])
        judged: list[dict[str, Any] | None] = [None, *event.rules]
        lines = rows(paper, ["rule", "value", "kept if", ""], shown, right=(1,), indent="    ")
        for line, ruled in zip(lines, judged, strict=True):
            yield paper.paint(line, "red") if ruled and ruled["fails"] else line
    for edit in event.edits[:_SHOWN_EDITS]:
        put = f", replaced by {edit['replacement']!r}" if edit.get("replacement") else ", deleted"
        yield f"    {edit['rule']}: bytes {edit['start']:,} to {edit['end']:,}{one_line(put)}"
    if len(event.edits) > _SHOWN_EDITS:
        yield f"    and {len(event.edits) - _SHOWN_EDITS} more edits"
