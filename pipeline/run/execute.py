"""Drive one step from its first phase to its manifest, redoing no task that has a record."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gristmill.errors import StepFailed
from gristmill.facts import StepFacts
from gristmill.files.storage import write_atomic
from gristmill.files.stores import store_of
from gristmill.ledger import Books
from gristmill.manifest import (
    AHEAD,
    Manifest,
    TaskRecord,
    put_manifest,
    read_manifest,
    read_records,
    record_path,
)
from gristmill.pins import check_pins, share_files
from gristmill.pipeline.run import signals
from gristmill.pipeline.run.cluster.attempts import TaskFailure
from gristmill.pipeline.run.engines import Engines
from gristmill.pipeline.run.job import Job, Onward, Phase, records_at_work
from gristmill.pipeline.run.losses import (
    LostTask,
    after_losses,
    apart,
    clear_quarantine,
    lost_before,
    lost_facts,
    spell_lost,
    with_lost,
)
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.narration.watch import Watch
from gristmill.pipeline.run.onward import keys_ahead, take_ahead, with_onward
from gristmill.pipeline.run.records.summary import put_summary
from gristmill.pipeline.run.records.totals import Totals, in_place
from gristmill.pipeline.run.step import Step
from gristmill.redact import public_url

_SHOWN_FAILURES = 5


def execute(
    step: Step,
    job: Job,
    facts: Mapping[str, Any],
    identity: str,
    engines: Engines,
    progress: Progress,
    allowed_failures: int,
    onward: Sequence[Onward] = (),
) -> Manifest:
    """Run a step's pending tasks and publish its manifest, which names the tasks that were lost.

    Steps `onward` are worked in the tasks that let its documents go; each publishes its own manifest when it
    is executed in its turn, by the records that are there then.

    Raises StepFailed when more than `allowed_failures` tasks failed on every attempt; what succeeded stays
    done. A signal that something swallowed on the way is raised again before a loss or the manifest is
    booked.
    """
    began = time.perf_counter()
    store_of(job.folder).clear_scratch(job.folder)  # left by a killed run; its attempts are not resumed
    stage = step.kind.load()(job)
    done: list[TaskRecord] = []
    losses: list[LostTask] = []
    handed, inherited = job.handed_keys(), lost_before(job)
    totals = Totals()
    records: list[TaskRecord] | None = None
    try:
        while True:
            asked = stage.send(records)  # type: ignore[arg-type]  # the first send starts the generator
            phase = after_losses(engines.settings.provide(step.stage, asked), losses)
            phase = replace(
                phase, step=(job.settings, job.seed), pins=step.pins, libraries=facts["libraries"]
            )
            if phase.name == step.kind.hands:
                phase = with_onward(phase, onward, engines.settings)
            there = take_ahead(job.folder, phase, handed)
            records = []
            for part in apart(phase, handed, inherited):
                records += run_phase(
                    step, job.folder, part, there, engines, progress, losses, allowed_failures, totals
                )
            order = {task.key: place for place, task in enumerate(phase.tasks)}
            records.sort(key=lambda record: order[record.task])
            done += [record for record in records if not record.is_lost]
    except StopIteration as finish:
        stated: StepFacts = finish.value
        assert isinstance(stated, step.kind.facts), f"{step.stage} returned {type(stated).__name__}"
    lost = [*inherited, *lost_facts(job, losses)]
    extra = replace(stated, replaced_files=None, timing=None).as_json() | ({"lost": lost} if lost else {})
    clear_quarantine(job, lost)
    replaced = set(stated.replaced_files or ())  # a later phase wrote these anew
    timing: dict[str, Any] = dict(stated.timing or {})
    if losses:
        timing = {**timing, "lost": {loss.name: public_url(loss.failure.error) for loss in losses}}
    books = [record.books for record in done if record.books]
    manifest = Manifest(
        job.folder,
        step.name,
        identity,
        facts,
        [
            entry
            for record in in_place(done, replaced)
            for entry in record.files
            if entry.path not in replaced
        ],
        [_record_entry(job.folder, record) for record in done],
        with_lost(Books.total(books) if books else None, lost),
        extra,
        {**timing, "seconds": round(time.perf_counter() - began, 3), "ended": round(time.time(), 1)},
        put_summary(job.folder, totals, done, replaced),
    )
    check_pins(step.pins)
    signals.check()
    put_manifest(manifest)
    if handed and not lost:
        job.left.discard_folder(job.folder / AHEAD)
    kept = manifest.books.items_out["kept"] if manifest.books else None
    said = spell_lost(manifest) if lost else "done"
    progress.finished(step.name, said, time.perf_counter() - began, kept)
    left = [job.left.spelled()] if job.left.num_files else []
    for level, notes in (("info", stated.notes), ("warning", [*(stated.warnings or ()), *left])):
        for told in notes or ():
            progress.note(f"  {step.name}: {told}", level)
    return read_manifest(job.folder)


def run_phase(
    step: Step,
    folder: Path,
    phase: Phase,
    there: set[str],
    engines: Engines,
    progress: Progress,
    losses: list[LostTask],
    allowed: int,
    totals: Totals,
) -> list[TaskRecord]:
    """Run the tasks of a phase whose keys are not among those `there`; return all records in task order.

    A task that failed and is allowed to stands as a lost record. What the records say for reports is added to
    `totals`, and they are handed on without it.
    """
    if (ahead := keys_ahead(phase.onward)) is not None:
        there = there & ahead
    pending = [task for task in phase.tasks if task.key not in there]
    shares = share_files([task.arguments for task in pending], phase.common)
    pending = [replace(task, checks=share) for task, share in zip(pending, shares, strict=True)]
    told = functools.partial(phase.told or functools.partial(_records_told, phase.name), folder)
    done = len(phase.tasks) - len(pending)
    progress.phase(f"{step.name} {phase.name}", done=done, total=len(phase.tasks), told=told)
    watch = Watch(folder, phase.name, len(phase.tasks), progress, totals)
    paths = [record_path(folder, phase.name, task.key) for task in phase.tasks if task.key in there]
    watch.found(read_records(paths))
    if pending:
        watch.write()
        try:
            new = engines.for_phase(phase, pending).run(folder, phase, pending, watch)
            signals.check()  # a task that failed for a signal is no loss
        finally:
            progress.end()
            watch.at_work([])
            watch.write()
        losses += [LostTask(phase.name, failure) for failure in new]
        if new:
            _quarantine(folder, phase.name, new)
        if new and not phase.may_lose:
            raise _step_failed(step, folder, new, None)
        if len(losses) > allowed:
            raise _step_failed(step, folder, [loss.failure for loss in losses], allowed)
    lost = {failure.task.key for failure in new} if pending else set()
    return [
        TaskRecord.lost(phase.name, task.key) if task.key in lost else watch.records[task.key]
        for task in phase.tasks
    ]


def _records_told(phase: str, folder: Path) -> str:
    num = records_at_work(folder, phase)
    return f"{num:,} records in those at work" if num else ""


def _record_entry(folder: Path, record: TaskRecord) -> dict[str, str]:
    path = record_path(folder, record.phase, record.task)
    return {
        "phase": record.phase,
        "task": record.task,
        "path": path.relative_to(folder).as_posix(),
        "sha256": record.digest,
    }


def _quarantine(folder: Path, phase: str, failures: Sequence[TaskFailure]) -> None:
    for failure in failures:
        write_atomic(
            folder / "quarantine" / f"{phase}-{failure.task.key}.txt",
            public_url(failure.report(phase)).encode("utf-8", "replace"),
        )


def _step_failed(
    step: Step, folder: Path, failures: Sequence[TaskFailure], allowed: int | None
) -> StepFailed:
    """`allowed` is None where every task of the phase is needed."""
    shown = "\n".join(
        f"  shard {failure.task.key}: {public_url(failure.error)}" for failure in failures[:_SHOWN_FAILURES]
    )
    hints = "".join(
        f"{hint}\n      "
        for hint in dict.fromkeys(failure.hint for failure in failures[:_SHOWN_FAILURES])
        if hint
    )
    more = f"\n  and {len(failures) - _SHOWN_FAILURES} more" if len(failures) > _SHOWN_FAILURES else ""
    spelled = "shards" if len(failures) != 1 else "shard"
    bound = "and the step needs all of them" if allowed is None else f"{allowed} are allowed"
    again = "the tracebacks lie there; run the same command again to redo only these shards"
    allow = "" if allowed is None else ",\n      or allow losses with `--set limits.quarantined_shards=N`"
    return StepFailed(
        f"step `{step.name}` failed: {len(failures)} {spelled} failed on every attempt,"
        f" {bound}\n{shown}{more}",
        where=str(folder / "quarantine"),
        hint=f"{hints}{again}{allow}",
    )
