"""Tokens: how many bytes one holds in every source, and the mixture as planned and as it came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.figures import amount, count, share, size
from gristmill.pipeline.look.reading import RunView, StepView, read_tokenizer_report
from gristmill.pipeline.report import drawing
from gristmill.pipeline.report.markup import Cell, Html, PageSection, join, note, table, tag

_SHOWN_PIECES = 12


def tokenizer_section(view: RunView) -> PageSection | None:
    encoded = [step for step in view.of_stage("encode") if step.extra.get("tokens")]
    trained = [
        {**step.extra, **read_tokenizer_report(step)} for step in view.of_stage("tokenizer") if step.extra
    ]
    if not encoded and not trained:
        return None
    body: list[Html] = [_trained(extra) for extra in trained]
    if encoded:
        best = max(step.extra["bytes"] / step.extra["tokens"] for step in encoded)
        body.append(
            table(
                ["source", "bytes per token", "", "documents", "tokens", "text"],
                [_row(step, best) for step in encoded],
            )
        )
        body += [note(said) for step in encoded for said in _said_of(step)]
    return PageSection(
        "tokenizer", "Tokenizer", join(body), "Bytes per token: the higher, the fewer tokens a text takes."
    )


def _said_of(step: StepView) -> list[str]:
    """What encoding a source lost, and who encoded it where the fast encoder did not."""
    extra, said = step.extra, []
    losses = extra.get("losses", {})
    if losses.get("lossy"):
        kinds = [(kind, number) for kind, number in losses.items() if kind not in ("checked", "lossy")]
        found = ", ".join(f"{kind} in {count(number)}" for kind, number in kinds)
        said.append(
            f"{count(losses['lossy'])} of {count(losses['checked'])} documents that were checked do not come"
            f" back from their tokens as they were: {found}."
        )
    if extra.get("failed"):
        said.append(f"no encoder takes {count(extra['failed'])} documents.")
    if extra.get("by_reference"):
        said.append(f"{count(extra['by_reference'])} documents went to the tokenizer's own library.")
    said += [f"encoded by the tokenizer's own library: {why}." for why in extra.get("encoders_why", ())]
    name = step.name.partition("/")[2] or step.name
    return [f"{name}: {line}" for line in said]


def _trained(extra: Mapping[str, Any]) -> Html:
    sampled = extra.get("sampled_bytes", {})
    whole = sum(sampled.values())
    trained_on = ", ".join(f"{name} {share(part, whole)}" for name, part in sampled.items())
    said = f"{count(extra['vocab'])} pieces" + (f", trained on {size(whole)}: {trained_on}" if whole else "")
    facts = [tag("p", said, " · ", tag("code", extra["sha256"][:12]))]
    if "unused" in extra:
        facts.append(
            note(
                f"{count(extra['unused'])} pieces never occur in a sample of a few megabytes of every source."
            )
        )
    if extra.get("longest"):
        longest = (tag("code", piece) for piece in extra["longest"][:_SHOWN_PIECES])
        facts.append(tag("p", "Longest pieces: ", join(longest, " · "), class_="note"))
    return join(facts)


def _row(step: StepView, best: float) -> list[object]:
    extra = step.extra
    rate = extra["bytes"] / extra["tokens"]
    return [
        tag("bdi", step.name.partition("/")[2] or step.name),
        Cell(f"{rate:.2f}", rate),
        drawing.bar(rate, best),
        Cell(count(extra["documents"]), extra["documents"]),
        Cell(count(extra["tokens"]), extra["tokens"]),
        Cell(size(extra["bytes"]), extra["bytes"]),
    ]


def mixture_section(view: RunView) -> PageSection | None:
    made = [_mix(step) for step in view.of_stage("mix") if step.extra.get("table")]
    if not made:
        return None
    lead = (
        "As LLaMA's table 1 has it: each source's share of the training tokens, how often its text is seen,"
        " and how much there is of it; as planned and as it came out. The line in a bar is the plan."
    )
    return PageSection("mixture", "Mixture", join(made), lead)


def _mix(step: StepView) -> Html:
    planned = {row["source"]: row for row in step.extra.get("planned", ())}
    realised = step.extra["table"]
    whole = sum(row["tokens"] for row in realised)
    rows = [_mixed(row, planned.get(row["name"], {}), whole) for row in realised]
    said = f"{amount(step.extra.get('tokens', 0))} training tokens planned, {amount(whole)} written."
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
    parts += [note(f"{line}.") for line in step.extra.get("misses", ())]
    if cut := step.extra.get("cut"):
        listed = ", ".join(
            f"{name} {count(part['tokens'])} of {count(part['of_tokens'])} tokens"
            for name, part in cut.items()
        )
        parts.append(note(f"Of one document each only the beginning is there: {listed}."))
    if heldout := step.extra.get("heldout"):
        parts.append(note(_heldout(heldout)))
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
