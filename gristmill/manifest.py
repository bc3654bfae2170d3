"""Shard records and step manifests: what a reader opens instead of listing a folder.

A step's folder holds `data/` (content-addressed files), `records/<phase>/<task>.json` (one per finished task,
put if absent), `summary-*.json` (what they add up to) and `manifest.json` (put last), with its lists in
`entries/` where they are long. All JSON is sealed (`gristmill.files.sealed`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gristmill import entries
from gristmill.entries import Entries
from gristmill.errors import IntegrityError, UsageError
from gristmill.facts import Counts, Facts
from gristmill.files.disk import read_file
from gristmill.files.inside import below
from gristmill.files.location import remember_output
from gristmill.files.sealed import open_sealed, seal_json, understood, whole
from gristmill.files.storage import FileEntry, put_if_absent
from gristmill.files.stores import store_of
from gristmill.hashing import sha256_json
from gristmill.ledger import Books

FORMAT_VERSION = 1
PARTED_FORMAT = 2  # of a manifest whose lists lie in parts beside it
MANIFEST = "manifest.json"
RECORDS = "records"
AHEAD = "ahead"  # records of tasks that the step before worked on, until it is finished
_SHARD = re.compile(r"data/documents-(?:index-)?(.+)-[0-9a-f]{12}\.[a-z]+")  # its phase and task
Stated = TypeVar("Stated", bound=Facts)


@dataclass(slots=True)
class TaskRecord:
    """What one task did: the files it published, its books, counts, histograms and samples."""

    phase: str
    task: str
    files: list[FileEntry] = field(default_factory=list)
    books: Books | None = None
    counts: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    digest: str = ""  # of the body, once it has been put or read back

    @classmethod
    def lost(cls, phase: str, task: str) -> TaskRecord:
        """What stands for a task that failed on every attempt where the recipe allows it: no files, and
        nothing counted."""
        return cls(phase, task, counts=Counter(), extra={"lost": True})

    def slim(self) -> None:
        """Let go of histograms, samples and tallies: a driver holds a hundred thousand records at once."""
        self.histograms, self.samples = {}, {}
        self.extra = {name: value for name, value in self.extra.items() if name != "tallies"}

    @property
    def is_lost(self) -> bool:
        return "lost" in self.extra

    def state(self, *facts: Facts) -> None:
        """Add what the task states of itself: counts to the counts, anything else beside them."""
        for each in facts:
            if isinstance(each, Counts):
                self.counts |= each.as_json()
            else:
                self.extra |= each.as_json()

    def stated(self, kind: type[Stated]) -> Stated:
        """Read what the task stated; raises IntegrityError where it did not."""
        return kind.of(self.counts if issubclass(kind, Counts) else self.extra)

    def body(self) -> dict[str, Any]:
        return {
            "format": FORMAT_VERSION,
            "phase": self.phase,
            "task": self.task,
            "files": [entry.as_json() for entry in self.files],
            "books": self.books.as_json() if self.books else None,
            "counts": dict(sorted(self.counts.items())),
            "histograms": self.histograms,
            "samples": self.samples,
            "extra": self.extra,
        }

    def named(self, kind: str) -> list[FileEntry]:
        return [entry for entry in self.files if entry.kind == kind]


def record_path(folder: Path, phase: str, task: str, below: str = RECORDS) -> Path:
    return folder / below / phase / f"{task}.json"


def put_record(folder: Path, record: TaskRecord, below: str = RECORDS) -> bool:
    """Publish a task's record unless another attempt has; all files it names must be in place.

    Its `digest` is then that of the record that is there. Names of records are made to outlive a loss of
    power all at once, before a manifest names them: a task whose record is lost is done again.
    """
    for place in sorted({(folder / entry.path).parent for entry in record.files}):
        store_of(folder).settle(place)
    path = record_path(folder, record.phase, record.task, below)
    record.digest, data = seal_json(record.body(), record.timing)
    if put_if_absent(path, data, settled=False):
        return True
    record.digest = read_record(path).digest
    return False


def finished_keys(folder: Path, phase: str, below: str = RECORDS) -> set[str]:
    """Return the keys of the tasks of a phase that have a record."""
    try:  # not by `glob`, which passes over a folder that cannot be listed
        return {path.stem for path in (folder / below / phase).iterdir() if path.suffix == ".json"}
    except FileNotFoundError:
        return set()


def read_record(path: Path) -> TaskRecord:
    """Read a shard record, checking its digest."""
    (record,) = read_records([path])
    return record


def read_records(paths: Sequence[Path]) -> Iterator[TaskRecord]:
    """Read shard records of one step in order, checking their digests."""
    if paths:
        for path, raw in zip(paths, store_of(paths[0]).read_all(paths), strict=True):
            yield _record(path, raw)


def _record(path: Path, raw: bytes) -> TaskRecord:
    body, timing, digest = open_sealed(path, raw)
    if body.get("format") != FORMAT_VERSION:
        raise IntegrityError(
            f"the record `{path.parent.name}/{path.name}` has format {body.get('format')!r}, not"
            f" {FORMAT_VERSION}"
        )
    with understood(path):
        for entry in body["files"]:
            below(path.parent.parent.parent, entry["path"])
        return TaskRecord(
            _of(str, body, "phase"),
            _of(str, body, "task"),
            [_entry(**entry) for entry in body["files"]],
            Books.from_json(body["books"]) if body["books"] else None,
            _of(dict, body, "counts"),
            _of(dict, body, "histograms"),
            _of(dict, body, "samples"),
            _of(dict, body, "extra"),
            timing,
            digest,
        )


def _entry(**said: Any) -> FileEntry:
    """A file as a record or manifest names it; raises TypeError for what is none."""
    entry = FileEntry(**said)
    whole(entry.bytes, "bytes"), whole(entry.rows, "rows")
    texts = (entry.kind, entry.path, entry.sha256, *([] if entry.source is None else [entry.source]))
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"a file is named by other than texts: {ascii(texts)[:80]}")
    return entry


def _of(kind: type[Any], body: Mapping[str, Any], name: str) -> Any:
    """A value of a body in its type; raises TypeError for one of another."""
    if not isinstance(body[name], kind):
        raise TypeError(f"`{name}` is no {kind.__name__} but {ascii(body[name])[:40]}")
    return body[name]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished step: its identity, where it came from, and every file that belongs to it in order."""

    folder: Path
    step: str
    identity: str
    ingredients: Mapping[str, Any]
    files: Sequence[FileEntry]
    records: Sequence[Mapping[str, str]]
    books: Books | None
    extra: Mapping[str, Any]
    timing: Mapping[str, Any] = field(default_factory=dict)
    # Where the records' sum lies, and its digest; None in steps of earlier releases.
    summary: Mapping[str, str] | None = None
    content: str = ""  # the content digest, where the files lie in parts

    @property
    def content_digest(self) -> str:
        """The digest that steps downstream depend on: what the files hold, not how they were asked for."""
        return self.content or self.hash_content()

    @property
    def given_digest(self) -> str:
        """What stands for this step in the identity of one that reads it: the content digest, and the
        identity of a step whose documents were never files."""
        return self.identity if self.handed_on else self.content_digest

    @property
    def handed_on(self) -> str | None:
        """The step that was given the kept documents as they came; they were not written (`keep: ends`)."""
        return self.ingredients.get("handed_on")

    def shards(self) -> list[FileEntry]:
        """The kept documents, shard by shard; one of size 0 and no digest stands for those that were handed
        on, by the index that they have all the same."""
        documents = self.named("documents")
        if not self.handed_on:
            return documents
        kept = {_shard(entry): entry for entry in documents}
        return [
            kept.get(_shard(index))
            or FileEntry("documents", f"data/documents-{_shard(index)}", "", 0, index.rows, index.source)
            for index in self.named("documents-index")
        ]

    def written(self, source: str | None = None) -> list[FileEntry]:
        """The files of kept documents, of one source if named; raises UsageError where some were handed
        on."""
        found = [entry for entry in self.shards() if source in (None, entry.source)]
        if any(not entry.sha256 for entry in found):
            raise UsageError(
                f"the documents of the step `{self.step}` were handed on to `{self.handed_on}` and not"
                " written (`keep: ends`)",
                where=str(self.folder),
                hint="run its recipe again with `--set keep=steps`, which writes them; what stands behind the"
                " chain stays done",
            )
        return found

    def hash_content(self) -> str:
        return sha256_json(
            [[entry.kind, entry.path, entry.sha256] for entry in self.files] + [dict(self.extra)]
        )

    @property
    def lost(self) -> Sequence[Mapping[str, Any]]:
        """The tasks that an incomplete step was published without; empty for a whole one."""
        return list(self.extra.get("lost", ()))

    def beside(self) -> set[str]:
        """The files beside the manifest that it is read with: the records' sum, and its lists."""
        lists = [
            part for rows in (self.files, self.records) if isinstance(rows, Entries) for part in rows.parts
        ]
        return {part["path"] for part in (*lists, *([self.summary] if self.summary else []))}

    def stated(self, kind: type[Stated]) -> Stated:
        """Read what the step states of itself; raises IntegrityError where it does not."""
        return kind.of(self.extra)

    def named(self, kind: str) -> list[FileEntry]:
        if isinstance(self.files, Entries):
            return self.files.named(kind)
        return [entry for entry in self.files if entry.kind == kind]

    def paths(self, kind: str) -> list[Path]:
        return [self.folder / entry.path for entry in self.named(kind)]

    def rows(self, kind: str) -> int:
        return sum(entry.rows for entry in self.named(kind))

    def sources(self, kind: str = "documents") -> list[str]:
        """The sources whose files of one kind this step wrote, or whose documents it handed on, in order of
        first appearance."""
        entries = self.shards() if kind == "documents" else self.named(kind)
        return list(dict.fromkeys(entry.source for entry in entries if entry.source is not None))

    def read_records(self) -> list[TaskRecord]:
        """Read every shard record, in the order of phases and tasks."""
        return list(read_records([self.folder / entry["path"] for entry in self.records]))


def _shard(entry: FileEntry) -> str:
    """The phase and task that a file of documents, or its index, was written by."""
    found = _SHARD.fullmatch(entry.path)
    return found[1] if found else entry.path


def put_manifest(manifest: Manifest) -> None:
    """Publish a step: from now on readers see it."""
    for place in sorted({(manifest.folder / entry["path"]).parent for entry in manifest.records}):
        store_of(manifest.folder).settle(place)
    files: Any = [entry.as_json() for entry in manifest.files]
    records: Any = [dict(entry) for entry in manifest.records]
    body: dict[str, Any] = {"format": FORMAT_VERSION}
    if len(files) + len(records) > entries.MOST_INLINE:
        files = entries.put_parts(manifest.folder, "files", "kind", files)
        records = entries.put_parts(manifest.folder, "records", "phase", records)
        store_of(manifest.folder).settle(manifest.folder / entries.FOLDER)
        body = {"format": PARTED_FORMAT, "content": manifest.content_digest}
    body |= {
        "step": manifest.step,
        "identity": manifest.identity,
        "ingredients": dict(manifest.ingredients),
        "files": files,
        "records": records,
        "books": manifest.books.as_json() if manifest.books else None,
        "extra": dict(manifest.extra),
    }
    if manifest.summary:
        body["summary"] = dict(manifest.summary)
    put_if_absent(manifest.folder / MANIFEST, seal_json(body, dict(manifest.timing))[1])


def read_manifest(folder: Path) -> Manifest:
    """Open a step's manifest, checking its digest; raises IntegrityError when it is absent or altered."""
    manifest = find_manifest(folder)
    if manifest is None:
        raise IntegrityError(
            f"`{folder}` holds no {MANIFEST}: the step is unfinished or the folder is not an output of"
            " gristmill"
        )
    return manifest


def find_manifest(folder: Path) -> Manifest | None:
    """Open a step's manifest, if there is one; raises IntegrityError when it is altered."""
    remember_output(folder)
    try:
        return _manifest(folder, read_file(folder / MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_manifests(folders: Sequence[Path]) -> Iterator[Manifest]:
    """Open the manifests of several steps, in order; raises what `read_manifest` raises."""
    if folders:
        yield from store_of(folders[0]).side_by_side(read_manifest, folders)


def _manifest(folder: Path, raw: bytes) -> Manifest:
    path = folder / MANIFEST
    body, timing, _ = open_sealed(path, raw)
    if body.get("format") not in (FORMAT_VERSION, PARTED_FORMAT):
        raise IntegrityError(
            f"`{path}` has format {ascii(body.get('format'))[:40]}, this version reads formats"
            f" {FORMAT_VERSION} and {PARTED_FORMAT}"
        )
    with understood(path):
        return _read_body(folder, body, timing)


def _read_body(folder: Path, body: Mapping[str, Any], timing: Mapping[str, Any]) -> Manifest:
    summary = body.get("summary")
    for entry in (*body["files"], *body["records"], *([summary] if summary else [])):
        below(folder, entry["path"])
    for entry in (*body["records"], *([summary] if summary else [])):
        _of(str, entry, "sha256")
    inputs = body["ingredients"].get("inputs", {})
    for name in inputs:
        _of(str, inputs, name)
    files: Sequence[FileEntry]
    records: Sequence[Mapping[str, str]]
    if body["format"] == PARTED_FORMAT:
        files = Entries(folder, body["files"], _entry)
        records = Entries[Mapping[str, str]](folder, body["records"], dict)
    else:
        files, records = [_entry(**entry) for entry in body["files"]], body["records"]
    return Manifest(
        folder,
        _of(str, body, "step"),
        _of(str, body, "identity"),
        _of(dict, body, "ingredients"),
        files,
        records,
        Books.from_json(body["books"]) if body["books"] else None,
        _of(dict, body, "extra"),
        timing,
        summary,
        body.get("content", ""),
    )
