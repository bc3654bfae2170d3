"""What could not be read or extracted: by cause, with file and offset, and the shards that were lost."""

from __future__ import annotations

from gristmill.pipeline.look.figures import count
from gristmill.pipeline.look.funnel import Funnel
from gristmill.pipeline.look.reading import RunView
from gristmill.pipeline.report.markup import Cell, Section, details, join, note, table, tag


def failures_section(funnel: Funnel, view: RunView) -> Section | None:
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
        return Section("failures", "Failures", note("No record failed and no shard was lost."))
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
    return Section(
        "failures",
        "Failures",
        join(body),
        "Records that could not be read or extracted, by cause; every one has a row in the failed files.",
    )
