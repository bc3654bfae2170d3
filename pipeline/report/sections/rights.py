"""Opt-outs and licences: what was found for documents, what removed them, and what is left."""

from __future__ import annotations

from collections import Counter

from gristmill.pipeline.look.printing.figures import count
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, details, join, table, tag
from gristmill.pipeline.stages.rights import RIGHTS, SITE_RULES, RightsFacts, SiteRulesFacts

_LEAD = (
    "What sites and pages say of their use by machines, and the licences they name; a document may have"
    " several signals and is removed by the first that the recipe honours."
)
_SHOWN = 25


def rights_section(view: RunView) -> PageSection | None:
    steps = [step for step in view.of_stage(RIGHTS.name) if step.manifest]
    if not steps:
        return None
    head = ["source", "documents", "removed for an opt-out", "refused by licence", "left"]
    body: list[Html] = [table(head, [_row(step) for step in steps])]
    facts = [step.stated(RightsFacts) for step in steps]
    signals: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    for one in facts:
        signals.update(one.signals)
        licences.update(one.licences)
    body.append(tag("h3", "Signals, honoured or not"))
    body.append(_counts(["signal", "documents"], signals) if signals else tag("p", "None was found."))
    body.append(tag("h3", "Licences of the documents that are left"))
    body.append(_counts(["licence", "documents"], licences))
    notes = [note for one in facts for note in one.notes or ()]
    for step in view.of_stage(SITE_RULES.name):
        if step.manifest:
            read = step.stated(SiteRulesFacts)
            files = ", ".join(f"{count(num)} {kind}" for kind, num in read.files.items()) or "no file"
            notes.append(
                f"Of sites {files} were read; {count(read.sites)} sites say something to the agents."
            )
            notes += read.notes or ()
    if notes:
        body.append(tag("ul", *(tag("li", tag("bdi", note)) for note in notes)))
    return PageSection("rights", "Opt-outs and licences", join(body), _LEAD, "Rights")


def _row(step: StepView) -> list[object]:
    books = step.totals.books
    opted = sum(num for name, num in books.by_rule_first.items() if name.startswith("opt_out."))
    refused = sum(num for name, num in books.by_rule_first.items() if name.startswith("licence."))
    numbers = (books.items_in, opted, refused, books.items_out["kept"])
    return [tag("bdi", step.name.partition("/")[2]), *(Cell(count(num), num) for num in numbers)]


def _counts(head: list[str], counts: Counter[str]) -> Html:
    rows = [[tag("bdi", name), Cell(count(num), num)] for name, num in counts.most_common()]
    first = table(head, rows[:_SHOWN])
    more = rows[_SHOWN:]
    return join([first, details(f"{len(more)} more", table(head, more))]) if more else first
