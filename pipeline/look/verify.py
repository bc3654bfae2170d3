"""Re-check what a run promised: every digest, every row count, every book, and that steps hand over what they
kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.errors import BooksError, IntegrityError
from gristmill.hashing import sha256_file
from gristmill.ledger import Books
from gristmill.manifest import MANIFEST, Manifest, read_manifest, read_record
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.losses import spell_lost, with_lost

TEXT_STAGES = (
    "filter",
    "dedup-exact",
    "dedup-fuzzy",
    "dedup-pieces",
    "dedup-substring",
    "dedup-decontaminate",
    "classify-score",
    "ngram-score",
    "coverage",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is off: the file (or step) and what is wrong with it."""

    path: str
    problem: str


@dataclass(slots=True)
class Checked:
    num_files: int = 0
    num_bytes: int = 0
    num_steps: int = 0


def verify(out: Path, checked: Checked | None = None) -> Iterator[Finding]:
    """Check a run's folder, or one step's, and yield what is off; nothing yielded means all is well."""
    checked = checked if checked is not None else Checked()
    try:
        if (out / MANIFEST).exists():
            manifest = read_manifest(out)
            manifests: Mapping[str, Manifest] = {manifest.step: manifest}
        else:
            manifests = finished_steps(out)
    except IntegrityError as error:
        yield Finding(str(out), error.message)
        return
    for manifest in manifests.values():
        checked.num_steps += 1
        if manifest.lost:
            yield Finding(str(manifest.folder), f"is {spell_lost(manifest)}")
        yield from _verify_files(manifest, checked)
        yield from _verify_records(manifest)
    yield from _verify_handover(manifests)


def _verify_files(manifest: Manifest, checked: Checked) -> Iterator[Finding]:
    for entry in manifest.files:
        path = manifest.folder / entry.path
        checked.num_files += 1
        checked.num_bytes += entry.bytes
        if not path.exists():
            yield Finding(str(path), "is missing")
        elif path.stat().st_size != entry.bytes:
            yield Finding(str(path), f"has {path.stat().st_size:,} bytes, the manifest says {entry.bytes:,}")
        elif (digest := sha256_file(path)) != entry.sha256:
            yield Finding(str(path), f"hashes to {digest[:12]}…, the manifest says {entry.sha256[:12]}…")
        elif path.suffix == ".parquet" and (rows := _rows(path)) != entry.rows:
            yield Finding(str(path), f"holds {rows:,} rows, the manifest says {entry.rows:,}")


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError):
        return -1


def _verify_records(manifest: Manifest) -> Iterator[Finding]:
    books = []
    for entry in manifest.records:
        path = manifest.folder / entry["path"]
        try:
            record = read_record(path)
        except (IntegrityError, FileNotFoundError) as error:
            yield Finding(str(path), str(error))
            continue
        if record.books:
            books.append(record.books)
            try:
                record.books.balance(entry["task"])
            except BooksError as error:
                yield Finding(str(path), error.message)
    whole = with_lost(Books.total(books) if books else None, manifest.lost)
    total = whole.as_json() if whole else None
    if total != (manifest.books.as_json() if manifest.books else None):
        yield Finding(str(manifest.folder / MANIFEST), "its books are not the sum of its records'")


def _verify_handover(manifests: Mapping[str, Manifest]) -> Iterator[Finding]:
    """What a text stage received must be what the steps before it kept."""
    for name, manifest in manifests.items():
        if manifest.ingredients.get("stage") not in TEXT_STAGES or not manifest.books:
            continue
        source = name.partition("/")[2] or None
        inputs = [manifests[step] for step in manifest.ingredients["inputs"] if step in manifests]
        kept = sum(
            entry.rows
            for step in inputs
            for entry in step.named("documents")
            if source in (None, entry.source)
        )
        if inputs and kept != manifest.books.items_in:
            yield Finding(
                str(manifest.folder),
                f"took in {manifest.books.items_in:,} documents, the steps before it kept {kept:,}",
            )
