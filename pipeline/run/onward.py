"""Steps that work in the tasks of the step before them: documents go from one to the next as tables, and no
file is written and read between them.

    extract_shard -> Outcomes -> HandedOn -> FilterWork -> Outcomes -> HandedOn -> ...

Each step has its own records, books, decisions and removed documents, in its own folder. A task puts the
records of the steps behind it aside (`ahead/`), for its own step may still write a shard anew: only when that
is finished do they count, and `take_ahead` moves them where records lie.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gristmill.errors import IntegrityError
from gristmill.files.disk import read_file
from gristmill.files.location import staged
from gristmill.files.storage import RowGroups, put_if_absent
from gristmill.files.stores import store_of
from gristmill.manifest import AHEAD, TaskRecord, finished_keys, put_record, record_path
from gristmill.pipeline.run.job import Attempt, Job, Onward, Phase, function_name
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import resolve, stage_of
from gristmill.pipeline.run.step import Step

if TYPE_CHECKING:
    import pyarrow as pa


class RowWork(Protocol):
    """A step's work on the documents of one shard, which come in groups of rows, as from a file."""

    def add(self, documents: pa.Table) -> None: ...

    def publish(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RowWise:
    """How a step works on documents as they come: `opens` makes the work of one shard from an attempt for
    each of `phases`, the documents' schema and the `common` arguments."""

    opens: Callable[..., RowWork]
    phases: tuple[str, ...]
    common: Mapping[str, Any] = field(default_factory=dict)


def onward_of(step: Step, job: Job[Any], libraries: Mapping[str, str]) -> Onward:
    """What tasks of the step before need to know of a step that follows it."""
    how: RowWise = resolve(step.kind.follows)(job)
    named = (step.name, job.folder, function_name(how.opens), how.phases)
    return Onward(*named, job.settings, job.seed, how.common, step.pins, libraries)


def with_onward(phase: Phase, onward: Sequence[Onward], engine: EngineSettings) -> Phase:
    """Return the phase that lets documents go with the steps behind it: it takes what the largest of them
    takes, and needs the files and versions of all."""
    for step in onward:
        needs = engine.provide(stage_of(step.step), phase)
        memory = [size for size in (phase.memory_bytes, needs.memory_bytes) if size]
        phase = replace(
            phase,
            pins={**phase.pins, **step.pins},
            libraries={**phase.libraries, **step.libraries},
            num_cpus=max(phase.num_cpus, needs.num_cpus) if phase.num_cpus else 0,
            memory_bytes=max(memory, default=None),
        )
    return replace(phase, onward=tuple(onward))


@dataclass(slots=True)
class HandedOn:
    """One step behind a task: what takes the documents that the task lets go, and the records of that
    step."""

    step: Onward
    attempts: dict[str, Attempt[Any]]
    common: Mapping[str, Any]
    seconds: float = 0.0  # of its own work, without that of the steps behind it
    _behind: HandedOn | None = None
    _rows: RowGroups | None = None
    _work: RowWork | None = None

    def open(self, schema: pa.Schema) -> HandedOn:
        """Begin with a shard's documents; called by the one that writes them."""
        self._rows = RowGroups(schema, lambda group: self._timed(lambda: self._worked().add(group)))
        self._timed(lambda: self._begin(schema))
        return self

    @property
    def num_rows(self) -> int:
        return self._rows.num_rows if self._rows else 0

    def write(self, table: pa.Table) -> None:
        assert self._rows is not None
        self._rows.write(table)

    def close(self) -> None:
        """Work on what is left, and hand over the files."""
        assert self._rows is not None
        self._rows.close()
        self._timed(lambda: self._worked().publish())

    def put_records(self, timing: Mapping[str, Any]) -> None:
        """Put the records aside; the seconds stand with the phase that wrote the documents."""
        for number, (phase, task) in enumerate(self.attempts.items()):
            if task.record.books:
                task.record.books.balance(f"{task.folder.name}, {phase} {task.record.task}")
            is_last = number == len(self.attempts) - 1
            task.record.timing |= {"seconds": round(self.seconds if is_last else 0.0, 3), **timing}
            put_record(task.folder, task.record, AHEAD)

    def _begin(self, schema: pa.Schema) -> None:
        self._work = resolve(self.step.opens)(self.attempts, schema, **self.common)

    def _worked(self) -> RowWork:
        assert self._work is not None
        return self._work

    def _timed(self, work: Callable[[], None]) -> None:
        began, behind = time.perf_counter(), self._seconds_behind()
        try:
            work()
        except Exception as error:
            error.add_note(f"while the step `{self.step.step}` worked on what this task hands on")
            raise
        self.seconds += time.perf_counter() - began - (self._seconds_behind() - behind)

    def _seconds_behind(self) -> float:
        behind = self._behind
        return behind.seconds + behind._seconds_behind() if behind else 0.0


def hand_through(task: Attempt[Any], onward: Sequence[Onward]) -> list[HandedOn]:
    """Let a task hand its documents on to these steps, each of which hands its own to the next."""
    found: list[HandedOn] = []
    writer = task
    for number, step in enumerate(onward):
        attempts: dict[str, Attempt[Any]] = {}
        for phase in step.phases:
            scratch = task.scratch / f"onward-{number}-{phase}"
            scratch.mkdir(parents=True)
            record = TaskRecord(phase, task.record.task)
            attempts[phase] = Attempt(step.folder, scratch, record, step.settings, step.seed)
        common = staged(dict(step.common), task.scratch / f".inputs-{number}")
        handed = HandedOn(step, attempts, common)
        writer.hands_on = handed.open
        if found:
            found[-1]._behind = handed
        found.append(handed)
        writer = attempts[step.phases[-1]]
    return found


def keys_ahead(onward: Sequence[Onward]) -> set[str] | None:
    """The keys of tasks of which all these steps have a record; None without such steps."""
    found: set[str] | None = None
    for step in onward:
        for phase in step.phases:
            keys = finished_keys(step.folder, phase) | finished_keys(step.folder, phase, AHEAD)
            found = keys if found is None else found & keys
    return found


def take_ahead(folder: Path, phase: Phase, handed: set[str]) -> set[str]:
    """Put the records of tasks whose work the step before did where records lie, and return the keys of all
    that have one; raises IntegrityError for one that is gone.

    One that was put there by a run in which the step before lost tasks goes, if now it wrote that shard anew.
    """
    there = finished_keys(folder, phase.name)
    if not (there or handed):
        return there
    ahead = finished_keys(folder, phase.name, AHEAD)
    own = [task.key for task in phase.tasks if task.key not in handed and task.key in there & ahead]
    places = [
        (record_path(folder, phase.name, key), record_path(folder, phase.name, key, AHEAD)) for key in own
    ]
    stale = {
        key: record
        for key, (record, aside) in zip(own, places, strict=True)
        if read_file(record) == read_file(aside)
    }
    store_of(folder).remove_files([*stale.values()])
    wanted = [task.key for task in phase.tasks if task.key in handed and task.key not in there]

    def take(key: str) -> None:
        try:
            data = read_file(record_path(folder, phase.name, key, AHEAD))
        except FileNotFoundError:
            raise IntegrityError(
                f"the record of {phase.name} {key} is gone, which the step before wrote",
                where=str(folder),
                hint="run the same command again: the tasks that wrote it are done again",
            ) from None
        put_if_absent(record_path(folder, phase.name, key), data, settled=False)

    for _ in store_of(folder).side_by_side(take, wanted):
        pass
    return there - stale.keys() | {*wanted}
