"""Take in documents that another run of gristmill wrote: ids, sources and origins stay as they are."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import FIELDS
from gristmill.errors import IntegrityError
from gristmill.hashing import sha256_file
from gristmill.ledger import Books
from gristmill.location import location, use_storage
from gristmill.manifest import MANIFEST
from gristmill.parquet import parquet_schema
from gristmill.pipeline.run.final import SourceFiles, final_documents
from gristmill.pipeline.run.folder import RUN_FILE, handed_on
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.outcomes import DocumentOutputs
from gristmill.remote import Access
from gristmill.remote_store import StorageSettings
from gristmill.storage import read_tables


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


def adopt(job: Job) -> Stage:
    part: SourceFiles = job.carried["part"]
    tasks = [
        Task(
            f"{number:05d}",
            adopt_file,
            {"path": str(path), "sha256": entry.sha256, "source": part.source, "seed": job.seed},
        )
        for number, (path, entry) in enumerate(part.files)
    ]
    yield Phase("adopt", tasks, may_lose=True)
    return {}


def adopt_file(task: Attempt, path: str, sha256: str, source: str, seed: int) -> None:
    if sha256_file(Path(path)) != sha256:
        raise IntegrityError(
            f"`{path}` is not what its manifest says",
            hint="`gristmill verify` its folder, then make it again",
        )
    outputs = DocumentOutputs(task, source, seed, extra_fields(Path(path)))
    books = Books()
    for table in read_tables(Path(path)):
        outputs.keep(table)
        books.items_in += table.num_rows
        books.bytes_in += text_bytes(table)
    books.items_out["kept"], books.bytes_out["kept"] = books.items_in, books.bytes_in
    task.record.books = books
    outputs.publish()


def extra_fields(path: Path) -> list[pa.Field]:
    """The pass-through columns of a documents file: those after the contract's own."""
    own = {field.name for field in FIELDS}
    return [field for field in parquet_schema(path) if field.name not in own]


def text_bytes(table: pa.Table) -> int:
    """UTF-8 bytes of the text column; null counts as nothing."""
    return int(pc.sum(pc.binary_length(table.column("text"))).as_py() or 0)
