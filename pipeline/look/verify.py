"""Re-check what a run promised: every digest, every row count, every book, and that steps hand over what they
kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gristmill.errors import BooksError, IntegrityError
from gristmill.files.parquet import num_parquet_rows
from gristmill.files.storage import FileEntry
from gristmill.files.stores import store_of
from gristmill.hashing import sha256_file
from gristmill.ledger import Books
from gristmill.manifest import MANIFEST, Manifest, TaskRecord, read_manifest, read_record
from gristmill.pipeline.run.folder import RUN_FILE, finished_steps, read_run
from gristmill.pipeline.run.losses import spell_lost, with_lost
from gristmill.pipeline.run.records.summary import body_of, is_gone, read_summary
from gristmill.pipeline.run.records.totals import Totals
from gristmill.pipeline.run.stage import kinds
from gristmill.pipeline.run.step import identity


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
    kept: set[str] = set()
    try:
        if (out / MANIFEST).exists():
            manifest = read_manifest(out)
            manifests: Mapping[str, Manifest] = {manifest.step: manifest}
        else:
            manifests = finished_steps(out)
            kept = {entry["name"] for entry in read_run(out)["steps"] if entry.get("kept")}
            yield from _verify_run(out, manifests)
    except IntegrityError as error:
        yield Finding(str(out), error.message)
        return
    except (KeyError, TypeError, AttributeError) as error:
        yield Finding(str(out / RUN_FILE), f"is damaged or of another version: {error!r}")
        return
    parts = [_Part(manifest, manifests, kept) for manifest in manifests.values()]
    for found, counted, whole in store_of(out).side_by_side(_verify_step, parts):
        checked.num_steps += 1
        checked.num_files += counted.num_files
        checked.num_bytes += counted.num_bytes
        yield from found
        if not whole:
            return
    yield from _verify_handover(manifests)


class _Part(NamedTuple):
    """One step, the others that it stands on, and those that a recipe keeps as they are."""

    manifest: Manifest
    manifests: Mapping[str, Manifest]
    kept: Collection[str]


def _verify_step(part: _Part) -> tuple[list[Finding], Checked, bool]:
    """What is off in a step, what was looked at, and whether its lists could be read at all."""
    manifest, checked, found = part.manifest, Checked(), list[Finding]()
    if manifest.lost:
        found.append(Finding(str(manifest.folder), f"is {spell_lost(manifest)}"))
    try:
        found += _verify_identity(manifest, part.manifests, part.kept)
        found += _verify_files(manifest, checked)
        found += _verify_records(manifest)
    except IntegrityError as error:  # a list that lies beside the manifest
        return [*found, Finding(str(manifest.folder), error.message)], checked, False
    return found, checked, True


def _verify_run(out: Path, manifests: Mapping[str, Manifest]) -> Iterator[Finding]:
    """The run file must name each step by the identity that its manifest has, and every step of its plan."""
    run = read_run(out)
    missing = [name for name in run.get("plan", ()) if name not in manifests]
    if missing:
        more = f", nor are {len(missing) - 1} more" if len(missing) > 1 else ""
        yield Finding(str(out), f"is not complete: the step `{missing[0]}` is not finished{more}")
    for entry in run["steps"]:
        manifest = manifests[entry["name"]]
        if (entry["name"], entry["identity"]) != (manifest.step, manifest.identity):
            yield Finding(
                str(manifest.folder / MANIFEST),
                f"is of `{manifest.step}`, identity {manifest.identity[:12]}..., {RUN_FILE} names"
                f" `{entry['name']}`, {entry['identity'][:12]}...",
            )


def _verify_identity(
    manifest: Manifest, manifests: Mapping[str, Manifest], kept: Collection[str]
) -> Iterator[Finding]:
    """A manifest must be of its own folder, of what it says it was made from, and stand on the steps that are
    there, but for those that a recipe keeps (`tokenizer.freeze`)."""
    path, said = str(manifest.folder / MANIFEST), manifest.identity
    if (found := identity(manifest.ingredients)) != said:
        yield Finding(path, f"says identity {said[:12]}..., its ingredients hash to {found[:12]}...")
    if not manifest.folder.name.endswith(f"-{said[:12]}"):
        yield Finding(path, f"says identity {said[:12]}..., its folder is another's")
    if manifest.content and manifest.hash_content() != manifest.content:
        yield Finding(path, "its lists of files are not those of its content digest")
    for name, digest in manifest.ingredients.get("inputs", {}).items():
        if manifest.step in kept or (len(manifests) == 1 and name not in manifests):
            continue  # kept, or a step's folder on its own
        if name not in manifests:
            yield Finding(path, f"stands on the step `{name}`, which is not there")
        elif (content := manifests[name].given_digest) != digest:
            yield Finding(
                path,
                f"was made from a `{name}` of digest {digest[:12]}..., the one there has {content[:12]}...",
            )


def _verify_files(manifest: Manifest, checked: Checked) -> Iterator[Finding]:
    store = store_of(manifest.folder)
    there = store.find_below(manifest.folder, [entry.path for entry in manifest.files])

    def problem(entry: FileEntry) -> str:
        path, info = manifest.folder / entry.path, there.get(entry.path)
        if info is None:
            return "is missing"
        if info.size != entry.bytes:
            return f"has {info.size:,} bytes, the manifest says {entry.bytes:,}"
        copy = store.read_anew(path, info)
        if (digest := sha256_file(copy)) != entry.sha256:
            return f"hashes to {digest[:12]}…, the manifest says {entry.sha256[:12]}…"
        if path.suffix == ".parquet" and (rows := _rows(copy)) != entry.rows:
            return f"holds {rows:,} rows, the manifest says {entry.rows:,}"
        return ""

    for entry, found in zip(manifest.files, store.side_by_side(problem, manifest.files), strict=True):
        checked.num_files += 1
        checked.num_bytes += entry.bytes
        if found:
            yield Finding(str(manifest.folder / entry.path), found)


def _rows(path: Path) -> int:
    try:
        return num_parquet_rows(path)
    except (IntegrityError, OSError):
        return -1


def _verify_records(manifest: Manifest) -> Iterator[Finding]:
    books, totals, whole_records = [], Totals(), True
    published = {entry.path for entry in manifest.files}
    paths = [manifest.folder / entry["path"] for entry in manifest.records]
    read = store_of(manifest.folder).side_by_side(_record_or_error, paths)
    for entry, path, record in zip(manifest.records, paths, read, strict=True):
        if isinstance(record, Exception):
            yield Finding(str(path), str(record))
            whole_records = False
            continue
        if record.digest != entry["sha256"]:
            yield Finding(
                str(path), f"hashes to {record.digest[:12]}..., its manifest says {entry['sha256'][:12]}..."
            )
            whole_records = False
        if (record.phase, record.task) != (entry["phase"], entry["task"]):
            yield Finding(str(path), f"is the record of {record.phase} {record.task}")
        if whole_records:  # of another's record nothing is known, not even that it can be summed
            totals.add(record, rewritten=is_gone(record, published))
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
    if manifest.summary and whole_records:
        try:
            told = read_summary(manifest.folder, manifest.summary)
        except IntegrityError as error:
            yield Finding(str(manifest.folder / manifest.summary["path"]), error.message)
            return
        if body_of(told) != body_of(totals):
            yield Finding(str(manifest.folder / manifest.summary["path"]), "is not the sum of the records")


def _record_or_error(path: Path) -> TaskRecord | Exception:
    try:
        return read_record(path)
    except (IntegrityError, FileNotFoundError) as error:
        return error


def _verify_handover(manifests: Mapping[str, Manifest]) -> Iterator[Finding]:
    """What a text stage received must be what the steps before it kept."""
    for name, manifest in manifests.items():
        kind = kinds().get(str(manifest.ingredients.get("stage")))
        if not kind or kind.entry or kind.books != "texts" or not manifest.books:
            continue
        source = name.partition("/")[2] or None
        named = set(manifest.ingredients["inputs"])
        inputs = [step for other, step in manifests.items() if other in named]  # in the order they ran
        kept_by_source: dict[str | None, int] = {}
        for step in inputs:  # where two inputs hold a source's documents, the later one has them as they are
            entries = [entry for entry in step.shards() if source in (None, entry.source)]
            kept_by_source |= dict.fromkeys((entry.source for entry in entries), 0)
            for entry in entries:
                kept_by_source[entry.source] += entry.rows
        kept = sum(kept_by_source.values())
        if inputs and kept != manifest.books.items_in:
            yield Finding(
                str(manifest.folder),
                f"took in {manifest.books.items_in:,} documents, the steps before it kept {kept:,}",
            )
