"""What the run cost: time, throughput, memory and stragglers per stage."""

from __future__ import annotations

from gristmill.pipeline.look.printing.figures import count, share, short, size
from gristmill.pipeline.look.reading import RunView, StepView
from gristmill.pipeline.report.charts import drawing
from gristmill.pipeline.report.charts.markup import Cell, Html, PageSection, join, note, table, tag
from gristmill.pipeline.run.cpu_profile import KINDS
from gristmill.pipeline.run.narration.progress import spell_seconds
from gristmill.pipeline.run.narration.stragglers import STRAGGLES
from gristmill.pipeline.run.narration.times import TaskTime

_SHOWN = 12


def stragglers(step: StepView) -> list[tuple[TaskTime, float]]:
    """The shards that took longest of those that took far longer than their phase's median, with that median;
    the slowest first."""
    found = [(task, times.usual) for times in step.totals.times.values() for task in times.stragglers]
    return sorted(found, key=lambda pair: (-pair[0].seconds, pair[0].task))


def stages_section(view: RunView) -> PageSection | None:
    longest = max((step.seconds for step in view.steps if step.manifest), default=0.0)
    rows = [_row(step, longest) for step in view.steps if step.totals.times or step.state != "waiting"]
    if not rows:
        return None
    head = ["step", "wall time", "", "work", "shards", "median", "slowest", "records/s", "bytes/s", "memory"]
    body: list[Html] = [table(head, rows)]
    slow = [(step, task, usual) for step in view.steps for task, usual in stragglers(step)]
    if slow:
        number = sum(times.num_stragglers for step in view.steps for times in step.totals.times.values())
        body.append(
            tag(
                "h3",
                f"Stragglers: {number} shards took more than {STRAGGLES:g} times their phase's median",
            )
        )
        body.append(
            table(
                ["step", "phase", "shard", "took", "median", "records"],
                [
                    [
                        step.name,
                        task.phase,
                        tag("code", task.task),
                        Cell(spell_seconds(task.seconds), task.seconds),
                        Cell(spell_seconds(usual), usual),
                        Cell(count(task.items), task.items),
                    ]
                    for step, task, usual in slow[:_SHOWN]
                ],
            )
        )
    else:
        body.append(note("No shard took more than twice its phase's median and over a second."))
    body += _profiles(view)
    lead = (
        "Work is the sum over shards, the median that of the phase with most work; rates are per second of"
        " work, that is per core."
    )
    return PageSection("stages", "Throughput and stragglers", join(body), lead, "Throughput")


def _profiles(view: RunView) -> list[Html]:
    """Where the CPU time of profiled steps went, and how fast their kernels alone would be."""
    rows = []
    for step in view.steps:
        spent = profile_of(step)
        cpu = sum(seconds for kind, seconds in spent.items() if kind != "waiting")
        if not cpu:
            continue
        read = step.totals.books.bytes_in
        kernel = spent.get("kernel", 0.0)
        speeds = [read / seconds if seconds else 0.0 for seconds in (cpu, kernel)]
        shares = [spent.get(kind, 0.0) / cpu for kind in KINDS]
        rows.append(
            [
                tag("span", step.name, class_="name"),
                Cell(spell_seconds(cpu), cpu),
                *(Cell(f"{size(speed)}/s" if speed else "", speed) for speed in speeds),
                *(Cell(share(seconds, 1.0), seconds) for seconds in shares),
            ]
        )
    if not rows:
        return []
    head = ["step", "CPU", "a core", "its kernels alone", *KINDS]
    said = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    return [
        tag("h3", "Where CPU time went"),
        table(head, rows),
        note(f"Shares of the step's CPU time, waiting beside it. {said[0].upper()}{said[1:]}."),
    ]


def profile_of(step: StepView) -> dict[str, float]:
    """CPU seconds of a step's profiled tasks by kind, over its phases."""
    spent: dict[str, float] = {}
    for times in step.totals.times.values():
        for kind, seconds in times.profile.items():
            spent[kind] = spent.get(kind, 0.0) + seconds
    return spent


def _row(step: StepView, longest: float) -> list[object]:
    phases = list(step.totals.times.values())
    work = sum(times.work_seconds for times in phases)
    slowest = max((times.longest[0].seconds for times in phases if times.longest), default=0.0)
    usual = max(phases, key=lambda times: times.work_seconds).usual if phases else 0.0
    peak = max((times.peak_bytes for times in phases), default=0.0)
    books = step.totals.books
    item_rate, byte_rate = (books.items_in / work, books.bytes_in / work) if work else (0.0, 0.0)
    return [
        tag(
            "span",
            step.name,
            "" if step.state == "done" else tag("b", f" {step.state}", class_=step.state),
            class_="name",
        ),
        Cell(spell_seconds(step.seconds) if step.manifest else "", step.seconds),
        drawing.bar(step.seconds, longest, "accent", width=72) if step.manifest else "",
        Cell(spell_seconds(work), work),
        Cell(count(step.totals.num_records), step.totals.num_records),
        Cell(spell_seconds(usual), usual),
        Cell(spell_seconds(slowest), slowest),
        Cell(short(item_rate) if item_rate else "", item_rate),
        Cell(size(byte_rate) if byte_rate else "", byte_rate),
        Cell(size(peak) if peak else "", peak),
    ]
