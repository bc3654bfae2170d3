"""Find one document in a run by its id or URL: index sidecars point to the file and row, nothing is
scanned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.document import document_id
from gristmill.index import find_rows, own_key, url_key
from gristmill.manifest import Manifest
from gristmill.parquet import checked, open_parquet
from gristmill.storage import FileEntry

OUTLETS = ("documents", "removed", "failed")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of a step's output: `position` is the file's number among those of its kind and source."""

    step: str
    outlet: str
    path: Path
    row: int
    source: str
    position: int


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
                return FoundRow(
                    manifest.step, outlet, manifest.folder / data.path, rows[0], data.source or "", number
                )
    return None


def find_url(manifest: Manifest, url: str) -> list[FoundRow]:
    """Find every record of a URL in what a step that reads inputs kept, removed or failed on."""
    key, found = url_key(url), []
    for outlet in OUTLETS:
        for number, index, data in _indexes(manifest, f"{outlet}-urls", None):
            for row in find_rows(manifest.folder / index.path, key):
                found.append(
                    FoundRow(
                        manifest.step, outlet, manifest.folder / data.path, row, data.source or "", number
                    )
                )
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
                path = manifest.folder / data.path
                found.append(FoundRow(manifest.step, outlet, path, row, data.source or "", number))
    return found


def _indexes(manifest: Manifest, kind: str, source: str | None) -> list[tuple[int, FileEntry, FileEntry]]:
    """The sidecars of one kind beside their data files, which a task publishes one for one, in the same
    order."""
    if not manifest.named(kind):  # documents that were adopted have neither URLs nor own ids on file
        return []
    data = manifest.named(kind.partition("-")[0])
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
