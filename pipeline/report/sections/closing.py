"""How the page ends: what failed and where, what to ask next, and how to make the run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import yaml

from gristmill.pipeline.look.funnel import Funnel
from gristmill.pipeline.look.printing.figures import count
from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.report.charts.markup import (
    Cell,
    Html,
    PageSection,
    command,
    details,
    join,
    note,
    table,
    tag,
)


def failures_section(funnel: Funnel, view: RunView) -> PageSection | None:
    causes: list[list[object]] = []
    samples: list[list[object]] = []
    for level in funnel.levels:
        for step in level.steps:
            for error, records in sorted(
                step.totals.books.by_error.items(), key=lambda item: (-item[1], item[0])
            ):
                causes.append([tag("code", error), step.name, Cell(count(records), records)])
            for sample in step.totals.samples.get("failed", ()):
                origin = sample.get("origin") or {}
                place = f"{origin.get('file', '')} @ {origin['offset']:,}" if "offset" in origin else ""
                shown = [
                    tag("code", sample.get("error") or ""),
                    tag("bdi", sample.get("url") or sample.get("id") or "", class_="url"),
                ]
                samples.append(
                    [*shown, tag("bdi", place, class_="url"), tag("bdi", (sample.get("message") or "")[:300])]
                )
    lost = [
        [step.name, tag("code", shard), said]
        for step in view.steps
        for shard, said in step.quarantine.items()
    ]
    if not causes and not lost:
        return PageSection("failures", "Failures", note("No record failed and no shard was lost."))
    body = []
    if causes:
        body.append(table(["cause", "step", "records"], causes))
    if samples:
        body.append(
            details(
                f"{len(samples)} of them, chosen by hash",
                table(["cause", "page", "file and offset", "message"], samples),
            )
        )
    if lost:
        body.append(table(["step", "shard that failed on every attempt", "last line of its traceback"], lost))
    return PageSection(
        "failures",
        "Failures",
        join(body),
        "Records that could not be read or extracted, by cause; every one has a row in the failed files.",
    )


def provenance_section(view: RunView) -> PageSection:
    libraries: dict[str, str] = {}
    for step in view.steps:
        libraries |= step.manifest.ingredients.get("libraries", {}) if step.manifest else {}
    steps = [
        [
            step.name,
            tag("code", step.manifest.identity[:12]),
            tag("code", step.manifest.content_digest[:12]),
            Cell(len(step.manifest.files), len(step.manifest.files)),
        ]
        for step in view.steps
        if step.manifest
    ]
    versions = sorted({**libraries, "gristmill": view.version}.items())
    recipe = yaml.safe_dump(plain(view.recipe), sort_keys=False, allow_unicode=True, width=100)
    body = [
        tag("p", "Save the recipe below as ", tag("code", "recipe.yaml"), ", then:"),
        tag("pre", command("gristmill run recipe.yaml --out", shlex.quote(str(view.out)))),
        note(
            "The same recipe and inputs give the same bytes, for any number of workers; compare the digests."
        ),
        details("The resolved recipe", tag("pre", tag("code", recipe)), open_=len(recipe.splitlines()) < 30),
        details("Steps and digests", table(["step", "identity", "content", "files"], steps)) if steps else "",
        tag("h3", "Versions"),
        tag(
            "dl",
            *(tag("div", tag("dt", name), tag("dd", version)) for name, version in versions),
            class_="versions",
        ),
    ]
    return PageSection(
        "recipe", "Recipe and versions", join(body), "What made this, to the letter.", "Recipe"
    )


def plain(value: Any) -> Any:
    """Copy mappings and sequences into what YAML writes plainly."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def asking_section(view: RunView, funnel: Funnel) -> PageSection | None:
    """A table of questions and commands; ids stand for documents, as a URL of the web could be a command
    itself."""
    if not funnel.records:
        return None
    rows = [[question, answer] for question, answer in _questions(view, funnel)]
    lead = "A click on a command takes all of it. An id may be a URL, too, or a piece of text in quotes."
    return PageSection(
        "ask", "Ask further", table(["question", "command"], rows, sortable=False), lead, "Ask"
    )


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
