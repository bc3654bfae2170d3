"""Index the texts of kept and removed documents, a task for each group of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gristmill.facts import StepFacts
from gristmill.files.location import location
from gristmill.files.parquet import parquet_schema
from gristmill.files.storage import read_tables
from gristmill.pipeline.phases.indexing.index_file import IndexWriter
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.stages.index import IndexSlice

KIND = "search-index"


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file of documents; `name` is its path below the run's folder of steps."""

    path: str
    name: str
    outlet: str
    step: str
    source: str
    rows: int


def index(job: Job[IndexSlice]) -> Stage:
    """One index for each group of neighbouring files."""
    groups: list[list[IndexedFile]] = []
    room = 0
    for file in files_of(job):
        if not groups or file.rows > room:
            groups.append([])
            room = job.settings.index.documents
        groups[-1].append(file)
        room -= file.rows
    tasks = [Task(f"{number:05d}", index_files, {"files": group}) for number, group in enumerate(groups)]
    yield Phase("index", tasks)
    return StepFacts()


def files_of(job: Job[IndexSlice]) -> list[IndexedFile]:
    """What every step let go, and of each source the documents that the last step kept."""
    found = []
    for name, manifest in job.inputs.items():
        for outlet in ("documents", "removed"):
            for entry in manifest.named(outlet):
                source = entry.source or ""
                if entry.rows and (outlet == "removed" or job.holders.get(source) == name):
                    place = f"{manifest.folder.name}/{entry.path}"
                    path = str(manifest.folder / entry.path)
                    found.append(IndexedFile(path, place, outlet, name, source, entry.rows))
    return found


def index_files(task: Attempt[IndexSlice], files: Sequence[IndexedFile]) -> None:
    path = task.scratch / "index.db"
    index = IndexWriter(path)
    for file in files:
        index.add_file(file.name, file.outlet, file.step, file.source)
        wanted = [name for name in ("text", "rule") if name in parquet_schema(location(file.path)).names]
        for table in read_tables(location(file.path), wanted):
            rules = table["rule"].to_pylist() if "rule" in wanted else [None] * table.num_rows
            index.add(table["text"].to_pylist(), rules)
            task.tell(index.num_documents)
    index.close()
    task.publish(path, KIND, index.num_documents)
