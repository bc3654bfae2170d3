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

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gristmill.facts import StepFacts
from gristmill.files.storage import FileEntry, publish
from gristmill.files.stores import store_of
from gristmill.manifest import Manifest, TaskRecord
from gristmill.pipeline.run.leftovers import Leftovers

if TYPE_CHECKING:
    import pyarrow as pa

Settings = TypeVar("Settings")  # the slice of the recipe that a stage's job and tasks have


@dataclass(frozen=True, slots=True)
class Task:
    """One shard of a phase: a stable key and a module-level function with JSON-able arguments."""

    key: str
    function: Callable[..., None]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[str] = ()  # published files that this task checks for all that read them


@dataclass(frozen=True, slots=True)
class Onward:
    """A step that works on documents in the tasks of the one before it, as these let them go.

    `opens` (module:function) is called with an attempt for each of `phases`, the schema of the documents and
    the `common` arguments; the last phase is the one that writes documents.
    """

    step: str
    folder: Path
    opens: str
    phases: tuple[str, ...]
    settings: Any
    seed: int
    common: Mapping[str, Any] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all tasks of a phase are given: the step's slice and seed, the phase's common arguments, the
    digests of files from outside the run, and the steps that the documents are handed on to."""

    settings: Any = None
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    profile: bool = False
    onward: tuple[Onward, ...] = ()


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
    onward: tuple[Onward, ...] = ()  # steps whose work is done in these tasks, too

    @property
    def shared(self) -> Shared:
        return Shared(*self.step, self.common, self.pins, self.profile, self.onward)


def over_paths(
    name: str,
    function: Callable[..., None],
    paths: Sequence[Path] | Mapping[str, Path],
    *,
    may_lose: bool = False,
    **common: Any,
) -> Phase:
    """A phase of one task for each file, which gets it as `path`; keyed by its number, unless paths are."""
    keyed = paths if isinstance(paths, Mapping) else by_number(paths)
    tasks = [Task(key, function, {"path": str(path)}) for key, path in keyed.items()]
    return Phase(name, tasks, common, may_lose=may_lose)


def by_number(paths: Sequence[Path]) -> dict[str, Path]:
    return {f"{number:05d}": path for number, path in enumerate(paths)}


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
    what the plan was made with: a stage does not look again. `left` are files of its own that it no longer
    needs and could not remove.
    """

    name: str
    settings: Settings
    inputs: Mapping[str, Manifest]
    seed: int
    folder: Path
    holders: Mapping[str, str] = field(default_factory=dict)
    carried: Mapping[str, Any] = field(default_factory=dict)
    left: Leftovers = field(default_factory=Leftovers, compare=False)

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
            for entry in self._entries(manifest, kind)
            if source in (None, entry.source) and self.holders.get(entry.source or "", name) == name
        ]

    def _entries(self, manifest: Manifest, kind: str) -> list[FileEntry]:
        """What an input has of a kind; raises UsageError for documents that it handed on to another step."""
        handed_on_to_another = kind == "documents" and manifest.handed_on not in (None, self.name)
        return manifest.written() if handed_on_to_another else manifest.named(kind)

    def paths(self, kind: str, source: str | None = None) -> list[Path]:
        return [path for path, _ in self.files(kind, source)]

    def shards(self, source: str) -> dict[str, Path]:
        """The files of a source's documents by the key of the task that works on each: their number, or the
        key of the task that they came from, where that handed them on and most are no files."""
        for name, manifest in self.inputs.items():
            if manifest.handed_on and self.holders.get(source, name) == name:
                entries = [entry for entry in manifest.shards() if entry.source == source]
                return {key_of(entry): manifest.folder / entry.path for entry in entries}
        return by_number(self.paths("documents", source))

    def handed_keys(self) -> set[str]:
        """The keys of the tasks whose work was done by the step before, which handed its documents on."""
        given = [manifest for manifest in self.inputs.values() if manifest.handed_on == self.name]
        return {key_of(entry) for manifest in given for entry in manifest.shards() if not entry.sha256}


def key_of(entry: FileEntry) -> str:
    """The key of the task that a step's file of documents is of."""
    name = entry.path.rpartition("/")[2].partition(".")[0]
    return name.rsplit("-", 2)[1] if entry.sha256 else name.rpartition("-")[2]


class RowsTaker(Protocol):
    """What documents are written to: a file, or the next step."""

    @property
    def num_rows(self) -> int: ...

    def write(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Attempt(Generic[Settings]):
    """One attempt at a task: a scratch folder of its own, the record that it fills, and its step's slice and
    seed.

    `hands_on`: where the next step works in the same task, what takes the kept documents instead of a file,
    given their schema.
    """

    folder: Path
    scratch: Path
    record: TaskRecord
    settings: Settings
    seed: int
    hands_on: Callable[[pa.Schema], RowsTaker] | None = None
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


def function_name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"
