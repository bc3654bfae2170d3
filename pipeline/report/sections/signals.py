"""Every rule as a picture: what it measured, kept and removed, the cut between them, and the documents
nearest to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gristmill.pipeline.look.funnel import Funnel
from gristmill.pipeline.look.printing.figures import bound as spell_bound
from gristmill.pipeline.look.printing.figures import count, number, share
from gristmill.pipeline.report.charts import histograms
from gristmill.pipeline.report.charts.markup import Html, PageSection, details, join, legend, tag
from gristmill.pipeline.run.records.totals import Totals
from gristmill.pipeline.stages.filter import FilterFacts

PREFIX = "rule:"
NEAR = "near:"
OUTLETS = ("kept", "removed")


def signals_section(funnel: Funnel) -> PageSection | None:
    """One card per rule with a histogram, those that fail most first; rules that nothing fails fold away."""
    totals = Totals()
    bounds: dict[str, Mapping[str, Any]] = {}
    for level in funnel.levels:
        for step in level.steps:
            totals.merge(step.totals)
            bounds |= {bound["rule"]: bound for bound in step.stated(FilterFacts).bounds}
    cards: dict[bool, list[Html]] = {True: [], False: []}
    for name, histogram in sorted(
        totals.histograms.items(), key=lambda item: (-_fails(item[0], totals), item[0])
    ):
        if name.startswith(PREFIX) and any(sum(histogram.get(outlet, ())) for outlet in OUTLETS):
            rule = name.removeprefix(PREFIX)
            cards[_fails(name, totals) > 0].append(_card(rule, histogram, totals, bounds.get(rule)))
    if not any(cards.values()):
        return None
    body = [tag("div", *cards[True], class_="cards")]
    if cards[False]:
        num = len(cards[False])
        idle = f"{num} rule{'' if num == 1 else 's'} that no document fails"
        body.append(details(idle, tag("div", *cards[False], class_="cards"), open_=not cards[True]))
    lead = (
        "What every rule measured on the documents it saw: kept ones below, on top those that any rule"
        " removed. The dashed line is the cut; the tinted side fails."
    )
    return PageSection("signals", "Signals", join([legend((name, name) for name in OUTLETS), *body]), lead)


def _fails(name: str, totals: Totals) -> int:
    return totals.books.by_rule_any[name.removeprefix(PREFIX)]


def _card(
    rule: str, histogram: Mapping[str, Sequence[float]], totals: Totals, bound: Mapping[str, Any] | None
) -> Html:
    series = [(outlet, histogram[outlet]) for outlet in OUTLETS if outlet in histogram]
    cuts = histogram.get("cuts", [])
    measured = sum(sum(values) for _, values in series)
    failed = totals.books.by_rule_any[rule]
    kept_if = f"stays if {spell_bound(bound)}" if bound else f"cut at {' and '.join(map(number, cuts))}"
    preset, _, name = rule.rpartition(".")
    near = [f"{NEAR}{rule}:{side}" for side in OUTLETS]
    samples = sum(len(totals.samples.get(label, ())) for label in near)
    return tag(
        "article",
        tag("h3", tag("span", f"{preset}.", class_="preset"), Html("<wbr>"), name),
        tag(
            "p",
            f"{kept_if} · {count(failed)} of {count(measured)} fail ({share(failed, measured)})",
            class_="note",
        ),
        histograms.histogram(
            f"{rule}: kept and removed",
            histogram["bins"],
            series,
            cuts,
            gone=_gone(bound) if bound else (),
            left_of=_at_bounds(bound) if bound else {},
        ),
        (
            tag(
                "button",
                f"{samples} documents nearest the cut",
                type="button",
                class_="near",
                data_labels=" ".join(near),
            )
            if samples
            else ""
        ),
        class_="card signal",
    )


def _at_bounds(bound: Mapping[str, Any]) -> dict[float, str]:
    """Which side documents are on whose value is the bound itself, where their bin begins there: those at a
    `max` stay, those at an `above` go."""
    sides = {"max": "kept", "above": "removed"}
    return {bound[side]: outlet for side, outlet in sides.items() if bound[side] is not None}


def _gone(bound: Mapping[str, Any]) -> list[tuple[float, float]]:
    """The stretches of values that fail."""
    low = next((bound[side] for side in ("min", "above") if bound[side] is not None), None)
    high = next((bound[side] for side in ("max", "below") if bound[side] is not None), None)
    return [
        *([(-math.inf, low)] if low is not None else []),
        *([(high, math.inf)] if high is not None else []),
    ]


def near_cut(label: str) -> tuple[str, str] | None:
    """Split a sample's label into rule and side if it is one of documents near a cut."""
    if not label.startswith(NEAR):
        return None
    rule, _, side = label.removeprefix(NEAR).rpartition(":")
    return rule, side


def sample_title(label: str, stage: str) -> str:
    """Name a group of samples for the browser's menu."""
    if cut := near_cut(label):
        return f"near the cut of {cut[0]}, {cut[1]}"
    if label in ("kept", "failed"):
        return f"{label} by {stage}"
    return f"removed by {label}"


def trimmed(sample: dict[str, Any], characters: int) -> dict[str, Any]:
    """A sample with its text cut; the hash that chose it is of no use to a reader."""
    kept = {
        key: value for key, value in sample.items() if key not in ("hash", "distance") and value is not None
    }
    if isinstance(kept.get("text"), str) and len(kept["text"]) > characters:
        kept["text"] = kept["text"][:characters] + " …"
    return kept
