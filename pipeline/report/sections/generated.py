"""Sources that a model wrote: prompts, answers, what was spent, and what checks removed."""

from __future__ import annotations

from gristmill.pipeline.look.printing.figures import count
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, join, table, tag
from gristmill.pipeline.stages.generate import GENERATE, GenerateFacts

_LEAD = (
    "Texts written by a model from documents of other sources. A prompt that did not fit the budget is"
    " removed by `generate.budget`, one that other seeds made too by `generate.repeated_prompt`; the other"
    " rules judge answers."
)


def generated_section(view: RunView) -> PageSection | None:
    steps = [step for step in view.of_stage(GENERATE.name) if step.manifest]
    if not steps:
        return None
    head = ["source", "seeds", "prompts", "kept", "removed", "failed", "tokens in", "tokens out", "spent"]
    body: list[Html] = [table(head, [_row(step) for step in steps])]
    rules = [_rule(step, name, num) for step in steps for name, num in _rules(step)]
    if rules:
        body += [tag("h3", "Removed, by rule"), table(["source", "rule", "prompts"], rules)]
    templates = [
        [tag("bdi", _source(step)), tag("code", name), Cell(count(num), num)]
        for step in steps
        for name, num in step.stated(GenerateFacts).by_template.items()
    ]
    if templates:
        body += [tag("h3", "Kept, by template"), table(["source", "template", "documents"], templates)]
    notes = [note for step in steps for note in step.stated(GenerateFacts).notes or ()]
    timings = [step.manifest.timing for step in steps if step.manifest]
    lost, twice, tokens = (
        sum(int(one.get(name, 0)) for one in timings) for name in ("lost", "paid_twice", "lost_tokens")
    )
    if lost:
        notes.append(
            f"{count(lost)} requests did not come back, since a client was killed, a connection broke or the"
            f" server took too long; {count(twice)} of them were answered when asked again, and may have been"
            f" paid twice: at most {count(tokens)} tokens, which the budget counts as spent"
        )
    if notes:
        body.append(tag("ul", *(tag("li", tag("bdi", note)) for note in notes)))
    return PageSection("generated", "Written by a model", join(body), _LEAD, "Written")


def _row(step: StepView) -> list[object]:
    facts, out = step.stated(GenerateFacts), step.totals.books.items_out
    numbers = [facts.seeds, facts.prompts, out["kept"], out["removed"], out["failed"]]
    numbers += [facts.tokens_in, facts.tokens_out]
    spent = f"{facts.money:,.2f}" if facts.most_money else ""
    return [tag("bdi", _source(step)), *(Cell(count(num), num) for num in numbers), spent]


def _rules(step: StepView) -> list[tuple[str, int]]:
    return sorted(step.totals.books.by_rule_first.items(), key=lambda item: (-item[1], item[0]))


def _rule(step: StepView, name: str, num: int) -> list[object]:
    return [tag("bdi", _source(step)), tag("code", name), Cell(count(num), num)]


def _source(step: StepView) -> str:
    return step.name.partition("/")[2]
