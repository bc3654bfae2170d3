"""What a stage is made of: phases of tasks, and what one attempt at a task may do.

A stage is a generator. It yields phases, receives their shard records in task order, and returns what the
step states of itself (see `gristmill.facts`):

    def example(job: Job[ExampleSlice]) -> Stage:
        records = yield over_paths("count", count_rows, job.paths("documents"))
        return ExampleFacts(rows=Counted.total(records).rows)

    def count_rows(task: Attempt[ExampleSlice], path: str) -> None:
        task.record.state(Counted(rows=...))    # task.settings is the step's slice, task.seed its seed

A task's output is a function of its arguments alone, so that a second attempt writes the same bytes. Paths
among them are on this machine, also where the output lies on remote storage. Files are written into
`task.scratch` and handed over with `task.publish`; nothing else is visible to readers. The record is
committed last.
"""

from __future__ import annotations

import resource
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from gristmill.facts import StepFacts
from gristmill.location import Roots, staged, use_storage
from gristmill.manifest import Manifest, TaskRecord, put_record, record_path
from gristmill.pins import check_named, check_pins, pins_held
from gristmill.pipeline.run.cpu_profile import profiled
from gristmill.pipeline.run.stage import resolve
from gristmill.remote import take_retries
from gristmill.storage import FileEntry, publish
from gristmill.stores import store_of

Settings = TypeVar("Settings")  # the slice of the recipe that a stage's job and tasks have


@dataclass(frozen=True, slots=True)
class Task:
    """One shard of a phase: a stable key and a module-level function with JSON-able arguments."""

    key: str
    function: Callable[..., None]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[str] = ()  # published files that this task checks for all that read them


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tasks of a phase are given: the step's slice and seed, the phase's common arguments, and the
    digests of files from outside the run."""

    settings: Any = None
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    profile: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """Tasks that may run at the same time, in any order.

    `common` holds arguments that all tasks share: it travels once, so that a list of every shard costs a
    cluster no more than a list. `num_cpus` 0 means all that one machine has; `num_gpus` are held where a node
    has any, and a task sees no others; `window` bounds the tasks in
    flight where the engine's own does not suit. `may_lose`: a task that fails on every attempt costs the
    documents of its own file and nothing else, so a recipe can allow it. `pins` are the digests of files from
    outside the run. `saves`: an interrupted task has something to save, so it is waited for. `told` says how
    far a long task is, from the step's folder.
    """

    name: str
    tasks: Sequence[Task]
    common: Mapping[str, Any] = field(default_factory=dict)
    num_cpus: float = 1
    num_gpus: float = 0
    memory_bytes: int | None = None
    window: int | None = None
    may_lose: bool = False
    pins: Mapping[str, str] = field(default_factory=dict)
    saves: bool = False
    # What a task takes is said in the recipe, and not cut to the largest node.
    is_asked: bool = field(default=False, compare=False)
    libraries: Mapping[str, str] = field(default_factory=dict)  # versions that shape bytes
    told: Callable[[Path], str] | None = None
    step: tuple[Any, int] = (None, 0)  # slice and seed, set when the phase is run
    profile: bool = False  # each task's record tells where its CPU time went

    @property
    def shared(self) -> Shared:
        return Shared(*self.step, self.common, self.pins, self.profile)


def over_paths(
    name: str, function: Callable[..., None], paths: Sequence[Path], *, may_lose: bool = False, **common: Any
) -> Phase:
    """A phase of one task for each file, which gets it as `path`."""
    tasks = [Task(f"{number:05d}", function, {"path": str(path)}) for number, path in enumerate(paths)]
    return Phase(name, tasks, common, may_lose=may_lose)


TOLD = "told"  # in an attempt's scratch folder: how many records it has done
TELL_SECONDS = 2.0
_READ_AT_WORK = 64  # so many attempts are asked; more are counted by what these say


def records_at_work(folder: Path, phase: str) -> int:
    """The records that tasks at work have done, as far as they have said so; 0 where their scratch folders
    cannot be seen, as of an output at a URL."""
    found = list((folder / ".scratch").glob(f"{phase}-*/{TOLD}")) if folder.is_dir() else []
    total = 0
    for path in found[:_READ_AT_WORK]:
        with suppress(OSError, ValueError):
            total += int(path.read_text() or 0)
    return total * len(found) // max(1, min(len(found), _READ_AT_WORK))


# What a stage returns becomes the `extra` of its manifest.
Stage = Generator[Phase, list[TaskRecord], StepFacts]


@dataclass(frozen=True, slots=True)
class Job(Generic[Settings]):
    """A step about to run: its slice of the recipe and the manifests of the steps it reads.

    `holders` names, for a source that several inputs have documents of, the one that counts. `carried` is
    what the plan was made with: a stage does not look again.
    """

    name: str
    settings: Settings
    inputs: Mapping[str, Manifest]
    seed: int
    folder: Path
    holders: Mapping[str, str] = field(default_factory=dict)
    carried: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input(self) -> Manifest:
        """The only input, for stages that have one."""
        (manifest,) = self.inputs.values()
        return manifest

    def files(self, kind: str, source: str | None = None) -> list[tuple[Path, FileEntry]]:
        """Every file of one kind over all inputs, in the order of inputs and of their manifests; of one
        source, if named."""
        return [
            (manifest.folder / entry.path, entry)
            for name, manifest in self.inputs.items()
            for entry in manifest.named(kind)
            if source in (None, entry.source) and self.holders.get(entry.source or "", name) == name
        ]

    def paths(self, kind: str, source: str | None = None) -> list[Path]:
        return [path for path, _ in self.files(kind, source)]


@dataclass(slots=True)
class Attempt(Generic[Settings]):
    """One attempt at a task: a scratch folder of its own, the record that it fills, and its step's slice and
    seed."""

    folder: Path
    scratch: Path
    record: TaskRecord
    settings: Settings
    seed: int
    _spoke: float = 0.0

    def tell(self, records: int) -> None:
        """Say how many records this attempt has done so far, for those who watch: every few seconds, into its
        scratch folder."""
        now = time.monotonic()
        if now - self._spoke >= TELL_SECONDS:
            self._spoke = now
            (self.scratch / TOLD).write_text(str(records))

    def publish(
        self, path: Path, kind: str, rows: int = 0, *, source: str | None = None, name: str | None = None
    ) -> FileEntry:
        """Hand a finished scratch file over to the step; the record names it.

        `source` is set where all rows are of one source. `name` fixes the path below the step's folder, for
        files that other programs look for by name (shards, models); otherwise the path carries the content's
        digest.
        """
        # The phase is part of the name, so that files of two phases cannot be mistaken for each other.
        stem = f"{kind}-{self.record.phase}-{self.record.task}"
        entry = publish(path, self.folder, stem, kind, rows, source, name)
        self.record.files.append(entry)
        return entry

    def workspace(self, name: str) -> AbstractContextManager[Path]:
        """Lend a local folder that outlives this attempt, for work that a later one resumes; it lies in the
        step's folder."""
        return store_of(self.folder).workspace(self.folder / name)


class Finished(NamedTuple):
    """A task that has a record: where it lies, and the digest of what it says."""

    path: str
    digest: str


def attempt(
    folder: Path,
    phase: str,
    key: str,
    function: str,
    arguments: Mapping[str, Any],
    shared: Shared | None = None,
    storage: Roots | None = None,
    checks: Sequence[str] = (),
) -> Finished:
    """Run one task to its committed record; `shared` is what its whole phase has in common.

    Both engines call this and nothing else; to another process they pass `storage`, how remote outputs are
    reached. `checks` are files to compare with the digests in their names. Raises what the task raises; its
    scratch folder is removed either way.
    """
    start = time.perf_counter()
    for root, settings in storage or ():
        use_storage(root, settings)
    scratch = store_of(folder).scratch(folder, f"{phase}-{key}-{secrets.token_hex(6)}")
    record = TaskRecord(phase, key)
    try:
        shared = shared or Shared()
        given = staged({**arguments, **shared.arguments}, scratch / ".inputs")
        for path in checks:
            check_named(path)
        stamps = check_pins(shared.pins)
        work = partial(
            resolve(function), Attempt(folder, scratch, record, shared.settings, shared.seed), **given
        )
        if shared.profile:
            with profiled() as spent:
                work()
            record.timing["profile"] = spent.seconds
        else:
            work()
        pins_held(shared.pins, stamps)
        if record.books:
            record.books.balance(f"{folder.name}, {phase} {key}")
        record.timing |= {
            "seconds": round(time.perf_counter() - start, 3),
            "peak_bytes": peak_bytes(),
            "ended": round(time.time(), 1),
            **take_retries(),  # those of the record before, too, which were asked after it was written
        }
        put_record(folder, record)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Finished(str(record_path(folder, phase, key)), record.digest)


def function_name(function: Callable[..., None]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def peak_bytes() -> int:
    """The largest resident size of this process; Linux's `ru_maxrss` would begin with what its parent held at
    the fork."""
    with suppress(FileNotFoundError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in kilobytes on Linux, in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
