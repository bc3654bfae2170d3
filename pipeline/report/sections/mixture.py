"""Tokens: how many bytes one holds in every source, and the mixture as planned and as it came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.printing.figures import amount, count, share, size
from gristmill.pipeline.look.reading import RunView, StepView, read_tokenizer_report
from gristmill.pipeline.report.charts import drawing
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, join, note, table, tag
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.pipeline.stages.tokenizer import EncodeFacts, TokenizerFacts

_SHOWN_PIECES = 12


def tokenizer_section(view: RunView) -> PageSection | None:
    stated = [(step, step.stated(EncodeFacts)) for step in view.of_stage("encode")]
    encoded = [(step, facts) for step, facts in stated if facts.tokens]
    trained = [step for step in view.of_stage("tokenizer") if step.manifest]
    if not encoded and not trained:
        return None
    body: list[Html] = [
        _trained(step.stated(TokenizerFacts), read_tokenizer_report(view)) for step in trained
    ]
    if encoded:
        best = max(facts.bytes / facts.tokens for _, facts in encoded)
        body.append(
            table(
                ["source", "bytes per token", "", "documents", "tokens", "text"],
                [_row(step, facts, best) for step, facts in encoded],
            )
        )
        body += [note(said) for step, facts in encoded for said in _said_of(step, facts)]
    return PageSection(
        "tokenizer", "Tokenizer", join(body), "Bytes per token: the higher, the fewer tokens a text takes."
    )


def _said_of(step: StepView, facts: EncodeFacts) -> list[str]:
    """What encoding a source lost, and who encoded it where the fast encoder did not."""
    losses, said = facts.losses, []
    if losses.get("lossy"):
        kinds = [(kind, number) for kind, number in losses.items() if kind not in ("checked", "lossy")]
        found = ", ".join(f"{kind} in {count(number)}" for kind, number in kinds)
        said.append(
            f"{count(losses['lossy'])} of {count(losses['checked'])} documents that were checked do not come"
            f" back from their tokens as they were: {found}."
        )
    if facts.failed:
        said.append(f"no encoder takes {count(facts.failed)} documents.")
    if facts.by_reference:
        said.append(f"{count(facts.by_reference)} documents went to the tokenizer's own library.")
    said += [f"encoded by the tokenizer's own library: {why}." for why in facts.encoders_why]
    name = step.name.partition("/")[2] or step.name
    return [f"{name}: {line}" for line in said]


def _trained(stated: TokenizerFacts, report: Mapping[str, Any]) -> Html:
    sampled = stated.sampled_bytes
    whole = sum(sampled.values())
    trained_on = ", ".join(f"{name} {share(part, whole)}" for name, part in sampled.items())
    said = f"{count(stated.vocab)} pieces" + (f", trained on {size(whole)}: {trained_on}" if whole else "")
    facts = [tag("p", said, " · ", tag("code", stated.sha256[:12]))]
    if "unused" in report:
        unused = count(report["unused"])
        facts.append(note(f"{unused} pieces never occur in a sample of a few megabytes of every source."))
    if report.get("longest"):
        longest = (tag("code", piece) for piece in report["longest"][:_SHOWN_PIECES])
        facts.append(tag("p", "Longest pieces: ", join(longest, " · "), class_="note"))
    return join(facts)


def _row(step: StepView, facts: EncodeFacts, best: float) -> list[object]:
    rate = facts.bytes / facts.tokens
    return [
        tag("bdi", step.name.partition("/")[2] or step.name),
        Cell(f"{rate:.2f}", rate),
        drawing.bar(rate, best),
        Cell(count(facts.documents), facts.documents),
        Cell(count(facts.tokens), facts.tokens),
        Cell(size(facts.bytes), facts.bytes),
    ]


def mixture_section(view: RunView) -> PageSection | None:
    stated = [step.stated(MixFacts) for step in view.of_stage("mix")]
    made = [_mix(facts) for facts in stated if facts.table]
    if not made:
        return None
    lead = (
        "As LLaMA's table 1 has it: each source's share of the training tokens, how often its text is seen,"
        " and how much there is of it; as planned and as it came out. The line in a bar is the plan."
    )
    return PageSection("mixture", "Mixture", join(made), lead)


def _mix(facts: MixFacts) -> Html:
    planned = {row["source"]: row for row in facts.planned}
    realised = facts.table
    whole = sum(row["tokens"] for row in realised)
    rows = [_mixed(row, planned.get(row["name"], {}), whole) for row in realised]
    said = f"{amount(facts.tokens)} training tokens planned, {amount(whole)} written."
    head = [
        "source",
        "share planned",
        "written",
        "",
        "epochs planned",
        "written",
        "tokens",
        "documents",
        "text there",
    ]
    parts = [tag("p", said), table(head, rows)]
    parts += [note(f"{line}.") for line in facts.misses]
    if facts.cut:
        listed = ", ".join(
            f"{name} {count(part['tokens'])} of {count(part['of_tokens'])} tokens"
            for name, part in facts.cut.items()
        )
        parts.append(note(f"Of one document each only the beginning is there: {listed}."))
    if facts.heldout:
        parts.append(note(_heldout(facts.heldout)))
    return join(parts)


def _mixed(row: Mapping[str, Any], plan: Mapping[str, Any], whole: int) -> list[object]:
    proportion, epochs = plan.get("proportion"), plan.get("epochs")
    return [
        tag("bdi", row["name"]),
        Cell("" if proportion is None else share(proportion, 1), proportion),
        Cell(share(row["tokens"], whole), row["tokens"] / whole if whole else 0.0),
        drawing.bar(row["tokens"], whole, mark=None if proportion is None else proportion * whole),
        Cell("" if epochs is None else _epochs(epochs), epochs),
        Cell(_epochs(row["epochs"]), row["epochs"]),
        Cell(count(row["tokens"]), row["tokens"]),
        Cell(count(row["docs"]), row["docs"]),
        Cell(size(plan["bytes"]) if "bytes" in plan else "", plan.get("bytes")),
    ]


def _epochs(value: float) -> str:
    return f"{value:.2f}" if value >= 0.095 or not value else f"{value:.2g}"


def _heldout(rows: Sequence[Mapping[str, Any]]) -> str:
    listed = ", ".join(
        f"{row['name']} {count(row['docs'])} documents, {amount(row['tokens'])} tokens" for row in rows
    )
    return f"Held out of everything that is trained: {listed}."
