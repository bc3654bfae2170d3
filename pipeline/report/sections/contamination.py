"""Decontamination: what of each benchmark was looked for, what documents hold of it, the longest overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.printing.figures import count
from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, details, join, note, table, tag
from gristmill.pipeline.stages.dedup import DECONTAMINATE, DecontaminateFacts


def contamination_section(view: RunView) -> PageSection | None:
    steps = [step.stated(DecontaminateFacts).benchmarks for step in view.of_stage(DECONTAMINATE.name)]
    if not any(steps):
        return None
    return PageSection(
        "contamination",
        "Benchmarks",
        join(part for benchmarks in steps for part in _step(benchmarks)),
        "Documents that hold items of a benchmark, and what was looked for.",
    )


def _step(benchmarks: Sequence[Mapping[str, Any]]) -> list[Html]:
    names = ("rows", "items", "too_short", "items_found", "documents")
    rows = []
    for facts in benchmarks:
        numbers = (Cell(count(facts[name]), facts[name]) for name in names)
        rows.append([tag("bdi", facts["benchmark"]), facts["layout"], *numbers])
    head = ["benchmark", "layout", "rows", "items", "texts too short", "items found", "documents"]
    shown = [table(head, rows)]
    return shown + [_longest(facts) for facts in benchmarks if facts["longest"]]


def _longest(facts: Mapping[str, Any]) -> Html:
    rows = [
        [
            tag("code", overlap["id"]),
            Cell(count(overlap["line"]), overlap["line"]),
            Cell(count(overlap["longest"]), overlap["longest"]),
            Cell(f"{overlap['share']:.2f}", overlap["share"]),
            tag("bdi", overlap["item"]),
        ]
        for overlap in facts["longest"]
    ]
    listed = table(["document", "line", "words in a row", "share of the item", "item"], rows)
    return details(
        tag("span", "the longest overlaps with ", tag("bdi", facts["benchmark"])),
        listed,
        note("All are in the step's `hits` files."),
    )
