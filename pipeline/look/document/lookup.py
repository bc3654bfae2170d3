"""Find one document in a run by its id or URL: index sidecars point to the file and row, nothing is
scanned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.arrays import read_array
from gristmill.document import document_id
from gristmill.files.parquet import checked, open_parquet
from gristmill.files.storage import FileEntry
from gristmill.index import PAIR, find_rows, own_key, url_key
from gristmill.manifest import Manifest

OUTLETS = ("documents", "removed", "failed")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of a step's output: `position` is the file's number among those of its kind and source. One that
    is not `written` was handed on to the next step; an index tells of it."""

    step: str
    outlet: str
    path: Path
    row: int
    source: str
    position: int
    written: bool = True


def find_id(
    manifest: Manifest, id_: bytes, position: int | None = None, source: str | None = None
) -> FoundRow | None:
    """Find a document in what a step kept, removed or failed on.

    Shards of a step correspond to those of its input, so that the file at `position` is tried first.
    """
    for outlet in OUTLETS:
        indexes = _indexes(manifest, f"{outlet}-index", source)
        for number, index, data in _from(indexes, position):
            if rows := find_rows(manifest.folder / index.path, id_):
                return _found(manifest, outlet, data, rows[0], number)
    return None


def _found(manifest: Manifest, outlet: str, data: FileEntry, row: int, number: int) -> FoundRow:
    path = manifest.folder / data.path
    return FoundRow(manifest.step, outlet, path, row, data.source or "", number, bool(data.sha256))


def find_url(manifest: Manifest, url: str) -> list[FoundRow]:
    """Find every record of a URL in what a step that reads inputs kept, removed or failed on."""
    key, found = url_key(url), []
    for outlet in OUTLETS:
        for number, index, data in _indexes(manifest, f"{outlet}-urls", None):
            for row in find_rows(manifest.folder / index.path, key):
                found.append(_found(manifest, outlet, data, row, number))
    return found


def find_own_id(manifest: Manifest, own_id: str) -> list[FoundRow]:
    """Find every row that its source gave this id, and the record of an archive that has it as its key."""
    found = []
    for source in manifest.sources():
        one = find_id(manifest, document_id(source, own_id), source=source)
        found += [one] if one else []
    key = own_key(own_id)
    for outlet in OUTLETS:
        for number, index, data in _indexes(manifest, f"{outlet}-keys", None):
            for row in find_rows(manifest.folder / index.path, key):
                found.append(_found(manifest, outlet, data, row, number))
    return found


def _indexes(manifest: Manifest, kind: str, source: str | None) -> list[tuple[int, FileEntry, FileEntry]]:
    """The sidecars of one kind beside their data files, which a task publishes one for one, in the same
    order."""
    if not manifest.named(kind):  # documents that were adopted have neither URLs nor own ids on file
        return []
    outlet = kind.partition("-")[0]
    data = manifest.shards() if outlet == "documents" else manifest.named(outlet)
    numbers: dict[str | None, int] = {}
    found = []
    for entry, index in zip(data, manifest.named(kind), strict=True):
        number = numbers[entry.source] = numbers.get(entry.source, -1) + 1
        if source is None or entry.source == source:
            found.append((number, index, entry))
    return found


def _from(
    items: Sequence[tuple[int, FileEntry, FileEntry]], position: int | None
) -> Iterator[tuple[int, FileEntry, FileEntry]]:
    if position is not None and position < len(items):
        yield items[position]
    yield from items


def read_row(path: Path, row: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """Read one row of a Parquet file: the row group that holds it is all that is opened."""
    with open_parquet(path, memory_map=True) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                known = (
                    None if columns is None else [name for name in columns if name in file.schema_arrow.names]
                )
                with checked(path):
                    table: pa.Table = file.read_row_group(group, columns=known, use_threads=False)
                found: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
                return found
            row -= rows
    raise IndexError(f"`{path}` has no row {row}")


_OF_REMOVAL = ("rule", "value", "bound", "rules", "error", "message")


def read_found(
    manifests: Mapping[str, Manifest], found: FoundRow, columns: Sequence[str] | None = None
) -> dict[str, Any]:
    """Read the row of a document; of one that was handed on, what the next step that wrote it says of it."""
    if found.written:
        return read_row(found.path, found.row, columns)
    id_ = _id_at(manifests[found.step], found)
    later = list(manifests.values())[list(manifests).index(found.step) + 1 :]
    for manifest in later:
        at = find_id(manifest, id_, found.position, found.source)
        if at is not None and at.written:
            row = read_row(at.path, at.row, columns)
            return {name: value for name, value in row.items() if name not in _OF_REMOVAL}
    nowhere = {"file": None, "offset": None, "length": None}
    return {"id": id_, "url": None, "source": found.source, "date": None, "origin": nowhere}


def _id_at(manifest: Manifest, found: FoundRow) -> bytes:
    """The id of a row, by the index of its shard."""
    (index,) = (
        index
        for number, index, _ in _indexes(manifest, f"{found.outlet}-index", found.source)
        if number == found.position
    )
    pairs = read_array(manifest.folder / index.path, PAIR)
    (place,) = np.flatnonzero(pairs["row"] == found.row)
    return bytes(pairs[place].tobytes()[:16])


def find_side(
    manifest: Manifest, kind: str, id_: bytes, source: str, position: int, row: int
) -> dict[str, Any] | None:
    """Read a document's row of decisions or signals: the file that matches its input's, at the same row; the
    id proves it."""
    files = [entry for entry in manifest.named(kind) if entry.source in (source, None)]
    tried = [files[position], *files] if position < len(files) else files
    for entry in tried:
        if row < entry.rows:
            found = read_row(manifest.folder / entry.path, row)
            if found["id"] == id_:
                return found
    return None
