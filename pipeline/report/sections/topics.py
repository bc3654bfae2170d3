"""Topics by quality: what documents are about, and how many of each topic lie in which bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.cells import cell_rows, part_names, parts_of, times, topics_in
from gristmill.pipeline.look.printing.figures import count, share, short
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts import drawing
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, details, join, note, table, tag
from gristmill.pipeline.stages.topics import TopicsTrainFacts


def topics_section(view: RunView) -> PageSection | None:
    body: list[Html] = [_learned(step) for step in view.of_stage("topics-train") if step.manifest]
    rows = cell_rows({step.name: step.manifest for step in view.steps if step.manifest})
    for source in dict.fromkeys(row["source"] for row in rows):
        body.append(_cells(source, [row for row in rows if row["source"] == source]))
    if not body:
        return None
    lead = "What documents are about, and how good they are among their like; buckets count from the lowest."
    return PageSection("topics", "Topics and quality", join(body), lead)


def _learned(step: StepView) -> Html:
    facts = step.stated(TopicsTrainFacts)
    said = f"{len(facts.topics)} topics learned from {count(facts.documents)} documents"
    if facts.stability is not None:
        said += (
            f"; halves of them, each by itself, agree by {facts.stability:.2f} and more (adjusted Rand index)"
        )
    largest = max((topic["share"] for topic in facts.topics), default=1.0)
    rows = [
        [
            tag("bdi", topic["name"]),
            Cell(f"{topic['share']:.1%}", topic["share"]),
            drawing.bar(topic["share"], largest),
            tag("bdi", ", ".join(topic["words"])),
        ]
        for topic in facts.topics
    ]
    body = [tag("p", said + "."), table(["topic", "share", "", "telling words"], rows)]
    if facts.stability_by_number:
        tried = [[number, Cell(f"{value:.3f}", value)] for number, value in facts.stability_by_number.items()]
        body.append(details("numbers of topics tried", table(["topics", "halves agree at least by"], tried)))
    return join(body)


def _cells(source: str, rows: Sequence[Mapping[str, Any]]) -> Html:
    unit = "bytes" if any(row["tokens"] is None for row in rows) else "tokens"
    total = sum(row[unit] for row in rows)
    taken = any(row["taken"] is not None for row in rows)
    head = [source, "documents", unit, "share", *(f"buckets {name}" for name in part_names(rows))]
    lines: list[list[object]] = []
    for name, own in topics_in(rows):
        size = sum(row[unit] for row in own)
        line: list[object] = [
            tag("bdi", name),
            Cell(count(documents := sum(row["documents"] for row in own)), documents),
            Cell(short(size), size),
            Cell(share(size, total), size / max(1, total)),
        ]
        for part in parts_of(rows):
            cells = [row for row in own if row["bucket"] in part]
            held = sum(row[unit] for row in cells)
            line.append(Cell(short(held) + (f" × {times(cells)}" if taken and held else ""), held))
        lines.append(line)
    body = [table(head, lines)]
    if taken:
        body.append(note(f"{source}: × is how often the mixture takes a token of these buckets, on average."))
    return join(body)
