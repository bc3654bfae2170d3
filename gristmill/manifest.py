"""Shard records and step manifests: what a reader opens instead of listing a folder.

A step's folder holds `data/` (content-addressed files), `records/<phase>/<task>.json` (one per finished task,
put if absent) and `manifest.json` (put last). Both kinds of JSON are `{"body": ..., "sha256": digest of body,
"timing": ...}`: seconds and memory differ from run to run, so they lie outside the digest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson

from gristmill.disk import read_file
from gristmill.errors import IntegrityError
from gristmill.facts import Counts, Facts
from gristmill.hashing import canonical_json, sha256_json
from gristmill.inside import below
from gristmill.ledger import Books
from gristmill.location import remember_output
from gristmill.storage import FileEntry, put_if_absent
from gristmill.stores import store_of

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
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


def record_path(folder: Path, phase: str, task: str) -> Path:
    return folder / "records" / phase / f"{task}.json"


def put_record(folder: Path, record: TaskRecord) -> bool:
    """Publish a task's record unless another attempt has; all files it names must be in place.

    Its `digest` is then that of the record that is there.
    """
    for place in sorted({(folder / entry.path).parent for entry in record.files}):
        store_of(folder).settle(place)
    path = record_path(folder, record.phase, record.task)
    record.digest, data = _envelope(record.body(), record.timing)
    if put_if_absent(path, data):
        return True
    record.digest = read_record(path).digest
    return False


def finished_keys(folder: Path, phase: str) -> set[str]:
    """Return the keys of the tasks of a phase that have a record."""
    try:  # not by `glob`, which passes over a folder that cannot be listed
        return {path.stem for path in (folder / "records" / phase).iterdir() if path.suffix == ".json"}
    except FileNotFoundError:
        return set()


def read_record(path: Path) -> TaskRecord:
    """Read a shard record, checking its digest."""
    (record,) = read_records([path])
    return record


def read_records(paths: Sequence[Path], *, slim: bool = False) -> Iterator[TaskRecord]:
    """Read shard records of one step in order, checking their digests.

    `slim` leaves out histograms, samples and tallies: a driver holds a hundred thousand records at once.
    """
    if paths:
        for path, raw in zip(paths, store_of(paths[0]).read_all(paths), strict=True):
            yield _record(path, raw, slim=slim)


def _record(path: Path, raw: bytes, *, slim: bool) -> TaskRecord:
    body, timing, digest = _open(path, raw)
    for entry in body["files"]:
        below(path.parent.parent.parent, entry["path"])
    if slim:
        body |= {
            "histograms": {},
            "samples": {},
            "extra": {name: value for name, value in body["extra"].items() if name != "tallies"},
        }
    return TaskRecord(
        body["phase"],
        body["task"],
        [FileEntry(**entry) for entry in body["files"]],
        Books.from_json(body["books"]) if body["books"] else None,
        body["counts"],
        body["histograms"],
        body["samples"],
        body["extra"],
        timing,
        digest,
    )


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

    @property
    def content_digest(self) -> str:
        """The digest that steps downstream depend on: what the files hold, not how they were asked for."""
        return sha256_json(
            [[entry.kind, entry.path, entry.sha256] for entry in self.files] + [dict(self.extra)]
        )

    @property
    def lost(self) -> Sequence[Mapping[str, Any]]:
        """The tasks that an incomplete step was published without; empty for a whole one."""
        return list(self.extra.get("lost", ()))

    def stated(self, kind: type[Stated]) -> Stated:
        """Read what the step states of itself; raises IntegrityError where it does not."""
        return kind.of(self.extra)

    def named(self, kind: str) -> list[FileEntry]:
        return [entry for entry in self.files if entry.kind == kind]

    def paths(self, kind: str) -> list[Path]:
        return [self.folder / entry.path for entry in self.named(kind)]

    def rows(self, kind: str) -> int:
        return sum(entry.rows for entry in self.named(kind))

    def sources(self, kind: str = "documents") -> list[str]:
        """The sources whose files of one kind this step wrote, in order of first appearance."""
        return list(dict.fromkeys(entry.source for entry in self.named(kind) if entry.source is not None))

    def read_records(self) -> list[TaskRecord]:
        """Read every shard record, in the order of phases and tasks."""
        return list(read_records([self.folder / entry["path"] for entry in self.records]))


def put_manifest(manifest: Manifest) -> None:
    """Publish a step: from now on readers see it."""
    body = {
        "format": FORMAT_VERSION,
        "step": manifest.step,
        "identity": manifest.identity,
        "ingredients": dict(manifest.ingredients),
        "files": [entry.as_json() for entry in manifest.files],
        "records": [dict(entry) for entry in manifest.records],
        "books": manifest.books.as_json() if manifest.books else None,
        "extra": dict(manifest.extra),
    }
    put_if_absent(manifest.folder / MANIFEST, _envelope(body, dict(manifest.timing))[1])


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
    body, timing, _ = _open(path, raw)
    if body["format"] != FORMAT_VERSION:
        raise IntegrityError(
            f"`{path}` has format {body['format']}, this version reads format {FORMAT_VERSION}"
        )
    for entry in (*body["files"], *body["records"]):
        below(folder, entry["path"])
    return Manifest(
        folder,
        body["step"],
        body["identity"],
        body["ingredients"],
        [FileEntry(**entry) for entry in body["files"]],
        body["records"],
        Books.from_json(body["books"]) if body["books"] else None,
        body["extra"],
        timing,
    )


def _envelope(body: dict[str, Any], timing: dict[str, Any]) -> tuple[str, bytes]:
    """The digest of a body, and the canonical JSON of both; the timing has a digest of its own, which nothing
    else depends on."""
    spelled, times = canonical_json(body), canonical_json(timing)
    digest = _sha256(spelled)
    return digest, b"".join((_HEAD, spelled, _middle(digest), times, _tail(_sha256(times))))


_HEAD = b'{"body":'


def _middle(digest: str) -> bytes:
    return f',"sha256":"{digest}","timing":'.encode()


def _tail(digest: str) -> bytes:
    return f',"timing_sha256":"{digest}"}}\n'.encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _open(path: Path, raw: bytes) -> tuple[dict[str, Any], dict[str, Any], str]:
    try:
        data = orjson.loads(raw)
        body, digest, timing = data["body"], str(data["sha256"]), data["timing"]
        sealed = str(data["timing_sha256"]) if len(data) > 3 else None  # absent in earlier releases' files
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"`{path}` is not a whole record: {error}", hint="remove the step's folder and run again"
        ) from error
    if not _is_as_written(raw, digest, sealed) and (sealed is not None or sha256_json(body) != digest):
        found = sha256_json(body)
        what = "its body" if found != digest else "what stands beside its body"
        raise IntegrityError(
            f"`{path}` was altered: {what} is not what was written"
            f" (the body hashes to {found[:12]}…, it says {digest[:12]}…)"
        )
    return body, timing, digest


def _is_as_written(raw: bytes, digest: str, sealed: str | None) -> bool:
    """Whether every byte is as it was written: we write canonical JSON, so it need not be built anew."""
    middle, tail = _middle(digest), _tail(sealed) if sealed else b"}\n"
    at = raw.rfind(middle)
    if at < 0 or not raw.startswith(_HEAD) or not raw.endswith(tail):
        return False
    times = raw[at + len(middle) : len(raw) - len(tail)]
    return _sha256(raw[len(_HEAD) : at]) == digest and sealed in (None, _sha256(times))
