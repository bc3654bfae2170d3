"""What to ask next: the commands that answer the questions a page leaves open, for this run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from gristmill.pipeline.look.funnel import Funnel
from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.report.markup import Html, Section, command, table


def asking_section(view: RunView, funnel: Funnel) -> Section | None:
    """A table of questions and commands; ids stand for documents, as a URL of the web could be a command
    itself."""
    if not funnel.records:
        return None
    rows = [[question, answer] for question, answer in _questions(view, funnel)]
    lead = "A click on a command takes all of it. An id may be a URL, too, or a piece of text in quotes."
    return Section("ask", "Ask further", table(["question", "command"], rows, sortable=False), lead, "Ask")


def _questions(view: RunView, funnel: Funnel) -> Iterator[tuple[str, Html]]:
    out = shlex.quote(str(view.out))
    if rule := _largest_rule(funnel):
        name, sample = rule
        yield "Why was this page dropped?", command("gristmill why", out, sample)
        yield f"What does {name} take?", command("gristmill inspect", out, "--removed-by", shlex.quote(name))
    if cut := _busiest_cut(funnel):
        yield (
            f"Is the bound of {cut} right?",
            command("gristmill inspect", out, "--near-cut", shlex.quote(cut)),
        )
    if any(step.totals.books.items_out["failed"] for step in view.steps):
        yield "What could not be read, and why?", command("gristmill inspect", out, "--failed")
    if view.of_stage("mix"):
        yield "Where did this token come from?", command("gristmill trace", out, "00000:1234")
    yield (
        "Which recipe trains the better model, and what changed sides?",
        command("gristmill compare", out, "OTHER_OUT"),
    )
    yield "Is everything as it was written?", command("gristmill verify", out)
    if view.state != "complete":
        yield "How far is it?", command("gristmill status", out)


def _largest_rule(funnel: Funnel) -> tuple[str, str] | None:
    """Of the rules of which a document was sampled, the one that let most go, with the id of that
    document."""
    rules = [
        (level.by_rule_first[name], name, samples[0]["id"])
        for level in funnel.levels
        for step in level.steps
        for name, samples in step.totals.samples.items()
        if samples and level.by_rule_first[name]
    ]
    return max(rules)[1:] if rules else None


def _busiest_cut(funnel: Funnel) -> str | None:
    """Of the rules with a bound to move, the one that most documents fail."""
    rules = [
        (number, name)
        for level in funnel.levels
        for name, number in level.by_rule_any.items()
        if any(f"near:{name}:kept" in step.totals.samples for step in level.steps)
    ]
    return max(rules)[1] if rules else None
