"""Take in documents that another run of gristmill wrote: ids, sources and origins stay as they are."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from gristmill.document import FIELDS, removed_schema, text_bytes
from gristmill.errors import IntegrityError
from gristmill.facts import StepFacts
from gristmill.files.location import location, use_storage
from gristmill.files.parquet import parquet_schema
from gristmill.files.remote import Access
from gristmill.files.remote_store import StorageSettings
from gristmill.files.storage import read_tables
from gristmill.hashing import sha256_file
from gristmill.manifest import MANIFEST
from gristmill.pipeline.run.folder import RUN_FILE, handed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.records.final import SourceFiles, final_documents
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.stages.extract import AdoptSlice


def is_output(path: str, access: Access) -> bool:
    """Whether a path is a folder that gristmill wrote: of a run, or of one step; a URL is asked only if it
    looks like one."""
    if "://" in path and set(path.rpartition("/")[2]) & set(".*?["):
        return False
    if access.options:
        use_storage(path.rstrip("/"), StorageSettings(access))
    return any((location(path) / name).exists() for name in (RUN_FILE, MANIFEST))


def adoptable(folder: str, *, partial: bool) -> list[SourceFiles]:
    """List the sources of an output folder with the files their documents ended in; an incomplete one only if
    `partial`."""
    hint = "take what is there with `partial: true` at the source (`--set sources.NAME.partial=true`)"
    return final_documents(handed_on(location(folder), partial=partial, hint=hint).manifests)


def adopt(job: Job[AdoptSlice]) -> Stage:
    part: SourceFiles = job.carried["part"]
    tasks = [
        Task(
            f"{number:05d}",
            adopt_file,
            {"path": str(path), "sha256": entry.sha256},
        )
        for number, (path, entry) in enumerate(part.files)
    ]
    yield Phase("adopt", tasks, may_lose=True)
    return StepFacts()


def adopt_file(task: Attempt[AdoptSlice], path: str, sha256: str) -> None:
    if sha256_file(Path(path)) != sha256:
        raise IntegrityError(
            f"`{path}` is not what its manifest says",
            hint="`gristmill verify` its folder, then make it again",
        )
    outcomes = Outcomes(task, task.settings.source, extra_fields(Path(path)), by_url=True)
    nothing = removed_schema(outcomes.schema).empty_table()
    for table in read_tables(Path(path)):
        outcomes.take((table.num_rows, text_bytes(table)), table, nothing)
    outcomes.publish()


def extra_fields(path: Path) -> list[pa.Field]:
    """The pass-through columns of a documents file: those after the contract's own."""
    return extra_fields_of(parquet_schema(path))


def extra_fields_of(schema: pa.Schema) -> list[pa.Field]:
    own = {field.name for field in FIELDS}
    return [field for field in schema if field.name not in own]
