"""Tables for the terminal: plan, status and the funnel of a run. They fit 80 columns and read manifests
only."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill.facts import StepFacts
from gristmill.files.lock import read_holder
from gristmill.manifest import Manifest
from gristmill.pipeline.look.live import read_status, step_row
from gristmill.pipeline.look.printing.figures import one_line
from gristmill.pipeline.look.printing.terminal import Paper
from gristmill.pipeline.look.printing.terminal import rows as table_lines
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.losses import spell_lost
from gristmill.pipeline.run.narration.progress import spell_seconds
from gristmill.pipeline.run.narration.stragglers import straggles
from gristmill.pipeline.run.narration.watch import spell_straggler
from gristmill.trainer.logs.told import spell_step

if TYPE_CHECKING:
    from gristmill.pipeline.recipe.about import Need
    from gristmill.pipeline.run.runner import StepState

_SHOWN_TASKS = 3  # at work for long


_WATCH_SECONDS = 2.0


def print_states(states: Sequence[StepState], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                [
                    {"step": state.step.name, "state": state.state, "because": state.because}
                    for state in states
                ]
            )
        )
        return
    rows = [[state.step.name, state.state, state.because] for state in states]
    print_table(["step", "state", "because"], rows)
    for line in _told_of_stale(states):
        print(line)
    for state in states:
        if state.state != "done":
            for line in state.step.slice.foretold():
                print(one_line(line))


_OF_MIXTURES = ("settings.proportions", "settings.sources", "settings.heldout_fraction")


def _told_of_stale(states: Sequence[StepState]) -> Iterator[str]:
    """What a table of steps does not say: how far a step that is stale makes others so."""
    by_name = {state.step.name: state for state in states}
    followers = [state.step.name for state in states if state.because.startswith("after ")]
    if followers:
        yield (
            f"{len(followers)} step{'s' if len(followers) > 1 else ''} after these: run, unless what"
            " they read comes out as it was"
        )
    tokenizer = by_name.get("tokenizer")
    if tokenizer and tokenizer.state == "stale" and not tokenizer.step.settings["tokenizer"].get("path"):
        changed = tokenizer.because.removeprefix("changed: ").split(", ")
        if any(name.startswith(_OF_MIXTURES) for name in changed) or tokenizer.because.startswith("after "):
            yield (
                "the tokenizer is trained anew on the changed mixture, and every source encoded again;"
                " `--set tokenizer.freeze=true` keeps the one that is there"
            )


def print_needs(needs: Sequence[Need]) -> None:
    """Print what a recipe says it needs: each path, whether something is there, and what it has to be."""
    paper = Paper()
    for need in needs:
        print(f"needs {one_line(need.path)} ({'there' if need.there else paper.paint('missing', 'red')})")
        for line in paper.wrap(need.what, "      "):
            print(line)
    if needs:
        print()


def print_run(out: Path, *, as_json: bool) -> None:
    """Print the funnel of a finished run: what every step took in, kept, removed and failed on."""
    manifests = finished_steps(out)
    if as_json:
        print(
            json.dumps(
                {"out": str(out), "steps": [step_row(name, manifest) for name, manifest in manifests.items()]}
            )
        )
    else:
        print_funnel(manifests)


def print_funnel(manifests: dict[str, Manifest]) -> None:
    """Print a line per step; `other` counts records that are no documents and documents that are held out."""
    rows = []
    for name, manifest in manifests.items():
        books = manifest.books
        seconds = spell_seconds(manifest.timing.get("seconds", 0.0))
        if books is None:
            rows.append([name, "", "", "", "", "", seconds])
            continue
        named = [books.items_out[outlet] for outlet in ("kept", "removed", "failed")]
        other = sum(books.items_out.values()) - sum(named)
        rows.append([name, *(f"{count:,}" for count in (books.items_in, *named, other)), seconds])
    print_table(["step", "in", "kept", "removed", "failed", "other", "took"], rows, right=(1, 2, 3, 4, 5, 6))
    for name, manifest in manifests.items():
        if manifest.lost:
            print(one_line(f"{name}: {spell_lost(manifest)}"))
    for manifest in manifests.values():
        for note in manifest.stated(StepFacts).notes or ():
            print(f"note: {one_line(note)}")
    for name, manifest in manifests.items():
        for warning in manifest.stated(StepFacts).warnings or ():
            print(f"warning: {name}: {one_line(warning)}")


def print_status(out: Path, *, as_json: bool) -> bool:
    """Print every step of the plan with its shards, rate, time to go and memory; return whether the run is
    complete."""
    status = read_status(out)
    if as_json:
        print(json.dumps(status))
        return bool(status["complete"])
    print_table(
        ["step", "state", "shards", "kept", "rate", "to go", "memory"],
        [_shown(row) for row in status["steps"]],
        right=(2, 3, 4, 5, 6),
    )
    for row in status["steps"]:
        if row.get("failed_shards"):
            print(one_line(f"{row['step']}: failed on every attempt: {', '.join(row['failed_shards'][:5])}"))
        if row.get("problem"):
            print(one_line(f"{row['step']}: {row['problem']}"))
        if row.get("training"):
            print(one_line(f"{row['step']}: {spell_step(row['training'])}"))
        for line in at_work(row):
            print(one_line(f"{row['step']}: {line}"))
        if row.get("stragglers"):
            print(
                one_line(
                    f"{row['step']}: {len(row['stragglers'])} stragglers, such as"
                    f" {', '.join(row['stragglers'][:5])}"
                )
            )
    holder = status["holder"]
    lacking = any(row["state"] == "incomplete" for row in status["steps"])
    ended = (
        "complete"
        if status["complete"]
        else "incomplete: the same command tries again what was lost"
        if lacking
        else "not complete, not running"
    )
    running = f"running, pid {holder['pid']} on {holder['host']}" if holder else ""
    print(one_line(running) if holder and not status["complete"] else ended)
    return bool(status["complete"])


def at_work(row: Mapping[str, Any]) -> Iterator[str]:
    """Say what a step at work waits for, and which of its tasks at work take far longer than others."""
    usual = row.get("median_seconds") or 0.0
    if row.get("waits_for"):
        yield row["waits_for"]
    for task in (row.get("at_work") or ())[:_SHOWN_TASKS]:
        if straggles(task["seconds"], usual, row["shards"]):
            yield spell_straggler(task, usual)


def watch_status(out: Path, *, as_json: bool) -> bool:
    """Show the status again every two seconds while the run is at work; return whether it is complete.

    A terminal is drawn over; a pipe gets one after another.
    """
    while True:
        if sys.stdout.isatty() and not as_json:
            print("\x1b[2J\x1b[H", end="")
        complete = print_status(out, as_json=as_json)
        sys.stdout.flush()
        if complete or read_holder(out) is None:
            return complete
        time.sleep(_WATCH_SECONDS)


def _shown(row: Mapping[str, Any]) -> list[str]:
    shards = (
        ""
        if "shards" not in row
        else f"{row['shards']}/{row['total']}"
        if row.get("total")
        else str(row["shards"])
    )
    rate = f"{row['shards_per_minute']:g}/min" if row.get("shards_per_minute") else ""
    if row.get("records_at_work"):
        shards += f" +{row['records_at_work']:,} records"
    to_go = (
        spell_seconds(row["eta_seconds"])
        if row["state"] == "running" and row.get("eta_seconds") is not None
        else ""
    )
    memory = f"{row['peak_bytes'] / 1e6:,.0f} MB" if row.get("peak_bytes") else ""
    kept = f"{row['kept']:,}" if "kept" in row else ""
    state = f"{row['state']} {row['phase']}" if row.get("phase") else row["state"]
    return [row["step"], state, shards, kept, rate, to_go, memory]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print columns as wide as their widest cell; on a terminal the widest column gives way, a pipe gets all
    of it."""
    paper = Paper()
    if not sys.stdout.isatty():
        paper.width = sys.maxsize
    for line in table_lines(paper, head, rows, right):
        print(line)
