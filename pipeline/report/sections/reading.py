"""What was read: records of each source by what became of them, and what was not read as it says."""

from __future__ import annotations

from collections.abc import Mapping

from gristmill.pipeline.look.printing.figures import count
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, details, join, table, tag
from gristmill.pipeline.stages.extract import EXTRACT, ExtractFacts

_OUTLETS = ("kept", "removed", "failed")
_LEAD = "Records that came in, by source; what was left out, or read otherwise than it says of itself."


def reading_section(view: RunView) -> PageSection | None:
    steps = [step for step in view.of_stage(EXTRACT.name) if step.totals.books.items_in]
    if not steps:
        return None
    head = ["source", "records", "documents", "removed", "failed", "no documents by kind"]
    body: list[Html] = [table(head, [_row(step) for step in steps])]
    notes = [note for step in steps for note in step.stated(ExtractFacts).notes or ()]
    if notes:
        body.append(tag("ul", *(tag("li", tag("bdi", note)) for note in notes)))
    charsets = [found for step in steps if (found := _charsets(step))]
    if charsets:
        body.append(details("Charsets other than UTF-8", *charsets))
    return PageSection("reading", "What was read", join(body), _LEAD, "Read")


def _row(step: StepView) -> list[object]:
    books = step.totals.books
    kept, removed, failed = (books.items_out.get(outlet, 0) for outlet in _OUTLETS)
    others = {name: num for name, num in sorted(books.items_out.items()) if name not in _OUTLETS}
    numbers = (Cell(count(num), num) for num in (books.items_in, kept, removed, failed))
    return [tag("bdi", _source(step)), *numbers, _spell(others)]


def _source(step: StepView) -> str:
    return step.name.partition("/")[2] or step.name


def _spell(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count(num)}" for name, num in numbers.items())


def _charsets(step: StepView) -> Html | None:
    found = {
        name.removeprefix("charset."): num
        for name, num in sorted(step.totals.counts.items(), key=lambda pair: (-pair[1], pair[0]))
        if name.startswith("charset.")
    }
    if not found:
        return None
    return tag("p", tag("bdi", _source(step)), f": {_spell(found)}")
