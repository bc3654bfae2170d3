"""The samples browser: documents chosen by hash, by outlet and rule, small enough to travel with the page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from gristmill.files.inside import inert
from gristmill.pipeline.look.printing.figures import count, number
from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.report.charts.markup import (
    Cell,
    Html,
    PageSection,
    command,
    details,
    join,
    table,
    tag,
)
from gristmill.pipeline.report.sections.signals import near_cut, sample_title, trimmed
from gristmill.pipeline.run.stage import label_of

BUDGET_BYTES = 3_000_000  # of the page's five million
_MOST_ROWS = 400
_CHARACTERS = (1200, 800, 500, 300, 160, 80)


def collect_samples(view: RunView) -> dict[str, dict[str, Any]]:
    """Gather every step's samples by group; texts are cut to the longest of a few lengths that fits the
    budget."""
    groups: dict[str, dict[str, Any]] = {}
    for step in view.steps:
        stage = label_of(step.stage)
        for label, samples in step.totals.samples.items():
            # A rule's samples belong together whichever source they are of; kept and failed differ by step.
            key = f"{step.name} {label}" if label in ("kept", "failed") else label
            group = groups.setdefault(
                key, {"title": sample_title(label, step.name), "stage": stage, "samples": []}
            )
            group["samples"] += samples
    for characters in _CHARACTERS:
        cut = {
            key: {
                **group,
                "samples": [_inert(trimmed(sample, characters)) for sample in group["samples"]],
                "characters": characters,
            }
            for key, group in groups.items()
        }
        if len(in_script(cut).encode()) <= BUDGET_BYTES:
            return cut
    return {key: group for key, group in cut.items() if near_cut(key) is None}


def _inert(value: Any) -> Any:
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, Mapping):
        return {key: _inert(item) for key, item in value.items()}
    return value


def in_script(value: Any) -> str:
    """Write JSON that can stand inside a script element: no `<`, and no separators that old parsers take for
    line ends."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _by_kind(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[str, str, int]]]:
    """Key, title and size of groups under headings; of those kept, what the last step kept first."""
    kinds: dict[str, list[tuple[str, str, int]]] = {"Kept": [], "Removed": [], "Near a cut": [], "Failed": []}
    for key, group in reversed(list(groups.items())):
        label = key.rpartition(" ")[2]
        kind = (
            "Near a cut"
            if near_cut(key)
            else label.capitalize()
            if label in ("kept", "failed")
            else "Removed"
        )
        kinds[kind].append((key, group["title"], len(group["samples"])))
    return {kind: listed for kind, listed in kinds.items() if listed}


def samples_section(view: RunView, groups: Mapping[str, Mapping[str, Any]]) -> PageSection | None:
    browsable = {key: group for key, group in groups.items() if group["samples"]}
    if not browsable:
        return None
    num = sum(len(group["samples"]) for group in browsable.values())
    longest = max(group["characters"] for group in browsable.values())
    said = (
        f"{count(num)} documents, per step and rule those with the smallest hash of their id: a fair sample,"
        f" the same every time. Texts are cut at {count(longest)} characters; in full, and all of them: "
    )
    lead = join([said, command("gristmill inspect", shlex.quote(str(view.out)))])
    options = [
        tag(
            "optgroup",
            *(tag("option", f"{title} ({num})", value=key) for key, title, num in listed),
            label=kind,
        )
        for kind, listed in _by_kind(browsable).items()
    ]
    body = tag(
        "div",
        tag(
            "div",
            tag("label", "Show ", tag("select", *options, id="group")),
            tag("button", "← previous (k)", type="button", id="previous"),
            tag("button", "next (j) →", type="button", id="next"),
            tag("span", "", id="position", aria_live="polite"),
            class_="controls",
        ),
        tag("article", Html(""), id="sample", class_="sample", tabindex="0"),
        id="browser",
    )
    listed = details("all of them in a table, to sort", _table(browsable))
    return PageSection("samples", "Samples", join([body, listed]), lead)


def _table(groups: Mapping[str, Mapping[str, Any]]) -> Html:
    rows: list[list[object]] = []
    for key, group in groups.items():
        if near_cut(key) is None:
            for sample in group["samples"]:
                value, text = sample.get("value"), sample.get("text") or ""
                rows.append(
                    [
                        tag("bdi", sample.get("url") or sample.get("id", ""), class_="url"),
                        group["title"],
                        sample.get("source", ""),
                        sample.get("language") or "",
                        Cell(number(value), value) if isinstance(value, int | float) else "",
                        Cell(count(len(text)), len(text)),
                    ]
                )
    head = ["document", "what became of it", "source", "language", "value", "characters shown"]
    return table(head, rows[:_MOST_ROWS])
