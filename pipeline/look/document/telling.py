"""A document's life in the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from typing import Any

from gristmill.pipeline.look.document.event import Event
from gristmill.pipeline.look.document.life import Life
from gristmill.pipeline.look.printing.figures import measured, one_line
from gristmill.pipeline.look.printing.terminal import Paper, facts, rows

_STYLES = {
    "kept": "green",
    "removed": "red",
    "failed": "red",
    "lost": "red",
    "in shard": "green",
    "encoded": "green",
}
_SHOWN_EDITS, _SHOWN_OTHERS = 12, 5
_MEASURED = ("value", "bound")
_FAILS = "fails"


def as_json(life: Life) -> str:
    return json.dumps(
        asdict(life), ensure_ascii=True, default=plain
    )  # ASCII: no escape sequence reaches a terminal


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
    if life.seed:
        yield ""
        yield paper.paint("written from", "bold")
        yield from (f"  {line}" if line else "" for line in tell(life.seed, paper))
    if life.others:
        more = " …" if len(life.others) > _SHOWN_OTHERS else ""
        yield ""
        yield (
            f"This URL has {len(life.others)} more records; ask by id:"
            f" {', '.join(life.others[:_SHOWN_OTHERS])}{more}"
        )


def _by_filter(rules: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Lay out judged rules below the name of their filter, which would leave no room for theirs."""
    for owner, group in groupby(rules, lambda rule: rule["rule"].partition(".")[0]):
        own = list(group)
        applies = any(rule["applies"] for rule in own)
        yield [owner if applies else f"{owner}: not this language", "", "", ""]
        for rule in own:
            name, value = rule["rule"], measured(rule["rule"], rule["value"])
            yield [
                f"· {name.partition('.')[2] or name}",
                value,
                rule["bound"],
                _FAILS if rule["fails"] else "",
            ]


def _tell_event(event: Event, paper: Paper) -> Iterator[str]:
    yield (
        f"{paper.paint(event.step, 'bold')} "
        f" {paper.paint(event.outcome, _STYLES.get(event.outcome, 'yellow'))}"
    )
    rule = event.facts.get("rule")
    yield from facts(
        paper,
        {name: measured(rule, value) if name in _MEASURED else value for name, value in event.facts.items()},
    )
    if event.rules:
        shown = list(_by_filter(event.rules))
        lines = rows(paper, ["rule", "value", "kept if", ""], shown, right=(1,), indent="    ")
        for line, cells in zip(lines, [None, *shown], strict=True):
            yield paper.paint(line, "red") if cells and cells[3] == _FAILS else line
    for edit in event.edits[:_SHOWN_EDITS]:
        put = f", replaced by {edit['replacement']!r}" if edit.get("replacement") else ", deleted"
        yield f"    {edit['rule']}: bytes {edit['start']:,} to {edit['end']:,}{one_line(put)}"
    if len(event.edits) > _SHOWN_EDITS:
        yield f"    and {len(event.edits) - _SHOWN_EDITS} more edits"
