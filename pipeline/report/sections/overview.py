"""The top of the page: what came of the run in one line, the funnel drawn, and the rules that let documents
go."""

from __future__ import annotations

from gristmill.pipeline.look.funnel import Funnel, Level
from gristmill.pipeline.look.printing.figures import amount, count, share, size
from gristmill.pipeline.look.reading import RunView, last_evaluation
from gristmill.pipeline.report.charts import drawing
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, join, legend, table, tag
from gristmill.pipeline.report.charts.narrowing import Amount, Column, narrow_funnel
from gristmill.pipeline.report.charts.narrowing import funnel as draw_funnel

_LEGEND = (
    *(("kept", "left"), ("removed", "removed"), ("failed", "failed")),
    *(("edited", "edited out"), ("other", "held out")),
)
_STATES = {
    "complete": "complete",
    "running": "running",
    "failed": "failed",
    "incomplete": "incomplete: shards were lost; the same command tries them again",
    "stopped": "not complete, not running",
}


def verdict(view: RunView, funnel: Funnel) -> str:
    """Say in a sentence or two what entered, what is left, what took most of it, and what a model made of
    it."""
    if not view.steps:
        return "This run has no steps yet."
    if not funnel.records:
        waiting = next((step.name for step in view.steps if step.state != "done"), None)
        return (
            f"Nothing has been read yet; the first step is {waiting}."
            if waiting
            else "The inputs held no records: nothing came of this run."
        )
    part = share(funnel.documents, funnel.pages)
    kept = f"{count(funnel.documents)} of {count(funnel.pages)} pages are left as documents ({part})"
    text = f": {size(funnel.text_bytes)} of text"
    tokens = f", {amount(funnel.num_tokens)} tokens to train on" if funnel.num_tokens is not None else ""
    return f"{kept}{text}{tokens}.{_largest_loss(funnel)}{_model(view)}"


def _largest_loss(funnel: Funnel) -> str:
    rules = [
        item for level in funnel.levels if level.num_tokens is None for item in level.by_rule_first.items()
    ]
    if not any(number for _, number in rules):
        return ""
    rule, most = max(rules, key=lambda item: item[1])
    return f" The rule that took most is {rule}, with {count(most)}."


def _model(view: RunView) -> str:
    """How well the last trained model foretells held-out text, over all sources."""
    steps = [step for step in view.of_stage("train") if step.manifest]
    bits = (
        [row["bits_per_byte"] for row in last_evaluation(steps[-1]) if row["source"] == "all"]
        if steps
        else []
    )
    return f" The model needs {bits[0]:.2f} bits for a byte of held-out text." if bits else ""


def state_line(view: RunView) -> str:
    """Say where the run stands: complete, running (where), failed (what), or stopped (after what)."""
    if view.state == "running" and view.holder:
        at_work = [step.name for step in view.steps if step.state == "running"]
        doing = f" at {', '.join(at_work)}" if at_work else ""
        return f"running{doing}, pid {view.holder['pid']} on {view.holder['host']}"
    if view.state == "failed":
        broken = [
            f"{step.name} ({len(step.quarantine)} shards failed)"
            for step in view.steps
            if step.state == "failed"
        ]
        return f"failed at {', '.join(broken)}; the same command resumes it"
    if view.state == "stopped":
        done = sum(step.state == "done" for step in view.steps)
        return (
            f"not complete, not running: {done} of {len(view.steps)} steps are done; the same command"
            " resumes it"
        )
    return _STATES[view.state]


def hero(view: RunView, funnel: Funnel, written: str) -> Html:
    failed = sum(level.failed for level in funnel.levels)
    removed = sum(level.removed for level in funnel.levels if level.num_tokens is None)
    tiles = [
        ("pages in", amount(funnel.pages), size(funnel.record_bytes)),
        ("documents kept", amount(funnel.documents), share(funnel.documents, funnel.pages)),
        ("removed by rule", amount(removed), share(removed, funnel.pages)),
        ("failed", amount(failed), share(failed, funnel.pages)),
        ("text", size(funnel.text_bytes), f"{size(funnel.text_bytes / max(1, funnel.documents))} each"),
    ]
    others = funnel.records - funnel.pages
    if others:
        tiles.insert(1, ("other records", amount(others), "requests, metadata"))
    if funnel.tokenized and funnel.num_tokens is not None:
        each = f"{funnel.tokenized.text_bytes / max(1, funnel.num_tokens):.2f} bytes each"
        tiles.append(("tokens", amount(funnel.num_tokens), each))
    shown = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", value),
            tag("dd", extra, class_="sub") if extra else "",
            class_="tile",
        )
        for name, value, extra in tiles
    ]
    problems = (
        tag("ul", *(tag("li", problem) for problem in view.problems), class_="problems")
        if view.problems
        else ""
    )
    return tag(
        "header",
        tag(
            "p",
            tag("span", "gristmill", class_="mark"),
            tag("span", state_line(view), class_=f"chip {view.state}"),
            class_="top",
        ),
        tag("h1", view.name),
        tag("p", verdict(view, funnel), class_="verdict"),
        problems,
        tag("dl", *shown, class_="tiles") if funnel.records else "",
        tag(
            "p",
            f"Written {written} by gristmill {view.version} from records and side files; no text was read.",
            class_="note",
        ),
        class_="hero",
    )


def funnel_section(funnel: Funnel) -> PageSection:
    names = ["pages in", *(level.name for level in funnel.levels)]
    columns = [
        Column("documents", [Amount(funnel.pages, amount(funnel.pages)), *map(_documents, funnel.levels)]),
        Column(
            "bytes of text",
            [None, *(_bytes(level, first=index == 0) for index, level in enumerate(funnel.levels))],
        ),
    ]
    if funnel.num_tokens is not None:
        columns.append(Column("tokens", [None, *map(_tokens, funnel.levels)]))
    chart = tag("figure", draw_funnel(names, columns), *(narrow_funnel(names, column) for column in columns))
    lead = (
        "From records to tokens: each bar is what was left after a stage, and beside it what that stage"
        " let go."
    )
    return PageSection("funnel", "Funnel", join([legend(_LEGEND), chart, _table_of(funnel)]), lead)


def _documents(level: Level) -> Amount:
    lost = [("removed", "removed", level.removed), ("failed", "failed", level.failed)]
    if level.num_tokens is not None:
        lost.append(("other", "held out", level.not_documents))
    return Amount(
        level.documents,
        amount(level.documents),
        [(class_, name, value, amount(value)) for class_, name, value in lost],
    )


def _bytes(level: Level, *, first: bool) -> Amount:
    """Text is made by the first stage, out of payload: nothing of it is lost there."""
    lost = (
        ()
        if first
        else (
            ("removed", "removed", level.removed_bytes),
            ("edited", "edited out", max(0, level.edited_bytes)),
        )
    )
    return Amount(
        level.text_bytes,
        size(level.text_bytes),
        [(class_, name, value, size(value)) for class_, name, value in lost],
    )


def _tokens(level: Level) -> Amount | None:
    return None if level.num_tokens is None else Amount(level.num_tokens, amount(level.num_tokens))


def _table_of(funnel: Funnel) -> Html:
    rows: list[list[object]] = []
    before = funnel.pages
    for level in funnel.levels:
        tokens = Cell("" if level.num_tokens is None else count(level.num_tokens), level.num_tokens)
        rows.append(
            [
                level.name,
                Cell(count(level.documents), level.documents),
                Cell(share(level.documents, before), level.documents / before if before else 0.0),
                Cell(count(level.removed), level.removed),
                Cell(count(level.failed), level.failed),
                Cell(size(level.text_bytes), level.text_bytes),
                tokens,
            ]
        )
        before = level.documents
    head = ["after", "documents", "of those before", "removed", "failed", "text", "tokens"]
    return table(head, rows, sortable=False)


def rules_section(funnel: Funnel) -> PageSection | None:
    levels = [level for level in funnel.levels if level.num_tokens is None]
    most = max(
        (number for level in levels for number in (level.by_rule_any | level.by_rule_first).values()),
        default=0,
    )
    rows: list[list[object]] = []
    for level in levels:
        rows += [_rule_row(level, rule, most) for rule in level.by_rule_any | level.by_rule_first]
    budget = [
        f"{count(level.by_rule_first[rule])} of {count(level.came)} documents are in no shard, by {rule}: no"
        " rule of quality, the mixture had no room for them."
        for level in funnel.levels
        if level.num_tokens is not None
        for rule in level.by_rule_first
        if level.by_rule_first[rule]
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: -float(row[2].value or 0))  # type: ignore[attr-defined]
    head = ["rule", "stage", "removed first", "", "fail at all", "of those that came"]
    lead = (
        "A document that fails several rules is removed by the first of them; in pale, all that fail a rule."
    )
    body = join([table(head, rows), *(tag("p", line, class_="note") for line in budget)])
    return PageSection("rules", "Rules", body, lead)


def _rule_row(level: Level, rule: str, most: int) -> list[object]:
    first, any_ = level.by_rule_first[rule], level.by_rule_any[rule]
    return [
        tag("code", rule, class_="name"),
        tag("span", level.name, class_="name"),
        Cell(count(first), first),
        drawing.bar(first, most, "removed", within=any_),
        Cell(count(any_), any_),
        Cell(share(first, level.came), first / level.came if level.came else 0.0),
    ]
