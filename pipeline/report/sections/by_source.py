"""Source by source: what is left of each after every stage, what rules took, its languages and lengths."""

from __future__ import annotations

from collections import Counter

from gristmill.pipeline.look.funnel import Funnel, Level
from gristmill.pipeline.look.printing.figures import count, share
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, details, figure, join, table, tag
from gristmill.pipeline.report.sections.corpus import LANGUAGES, length_figure, ranked
from gristmill.pipeline.run.records.totals import Totals
from gristmill.pipeline.stages.filter import FilterFacts


def source_section(funnel: Funnel) -> PageSection | None:
    """A funnel per source, drops by rule in the order rules are asked, languages and lengths."""
    levels = [level for level in funnel.levels if level.num_tokens is None]
    sources = list(dict.fromkeys(source for level in levels for source in level.by_source))
    if not sources:
        return None
    parts = [table(["source", "pages in", *(level.name for level in levels), "left"], _rows(levels, sources))]
    if drops := _drops(levels, sources):
        parts.append(figure("Removed by the first rule that failed, in the order rules are asked", drops))
    parts += [
        details(f"{source}: languages and lengths", *shown)
        for source in sources
        if (shown := _about(levels, source))
    ]
    lead = "Each source on its own: documents after every stage, and what let them go."
    return PageSection("sources", "By source", join(parts), lead)


def _rows(levels: list[Level], sources: list[str]) -> list[list[object]]:
    rows: list[list[object]] = []
    for source in sources:
        entry = next(level for level in levels if source in level.by_source)
        pages = sum(entry.by_source[source])
        cells: list[object] = [tag("span", source, class_="name"), Cell(count(pages), pages)]
        left = pages
        for level in levels:
            if source in level.by_source:
                left = level.by_source[source][0]
                cells.append(Cell(count(left), left))
            else:
                cells.append("")
        rows.append([*cells, Cell(share(left, pages), left / pages if pages else 0.0)])
    return rows


def _drops(levels: list[Level], sources: list[str]) -> Html | None:
    """A row per rule, a column per source."""
    rows: list[list[object]] = []
    for level in levels:
        by_source: dict[str, Counter[str]] = {source: Counter() for source in sources}
        order: list[str] = []
        for step in level.steps:
            order += [bound["rule"] for bound in step.stated(FilterFacts).bounds]
            for source, books in step.totals.by_source.items():
                by_source.setdefault(source, Counter()).update(books.by_rule_first)
        seen = {rule for counts in by_source.values() for rule, number in counts.items() if number}
        for rule in [*(rule for rule in dict.fromkeys(order) if rule in seen), *sorted(seen - set(order))]:
            cells = [Cell(count(by_source[source][rule]), by_source[source][rule]) for source in sources]
            rows.append([tag("code", rule, class_="name"), level.name, *cells])
    return table(["rule", "stage", *sources], rows) if rows else None


def _about(levels: list[Level], source: str) -> list[Html]:
    """Languages and lengths of what is left of a source, as its last step over documents saw it."""
    last: Totals | None = None
    for level in levels:
        for step in level.steps:
            if step.totals.tallies.get(source):
                last = step.totals
    if last is None:
        return []
    tally = last.tallies[source].get(LANGUAGES, Counter())
    whole = sum(tally.values())
    shown = [figure(f"Languages of {source}", *ranked(tally, "language", whole))] if whole else []
    lengths = length_figure(last.lengths.get(source, {}), f"Lengths of {source}")
    return (
        [tag("div", *shown, *([lengths] if lengths else []), class_="cards wide")] if shown or lengths else []
    )
