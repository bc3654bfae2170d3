"""The files and records of a step that has very many: columns in parts beside its manifest, opened when asked
for.

A manifest names each of them with a digest. A few thousand stand in the manifest itself; of more, each kind
of file and each phase's records are parts of their own: who asks what a step kept opens no list of it, and
who reads its documents opens the list of documents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from gristmill.errors import IntegrityError
from gristmill.files.inside import below
from gristmill.files.sealed import open_sealed, seal_json, understood, whole
from gristmill.files.storage import put_if_absent
from gristmill.files.stores import store_of

MOST_INLINE = 5000  # files and records in a manifest: about a megabyte
PART_ENTRIES = 50_000  # some ten megabytes
FOLDER = "entries"

Entry = TypeVar("Entry")


class Entries(Sequence[Entry], Generic[Entry]):
    """A list whose parts are read when they are first asked for; its length is known before.

    `parts` are mappings of name, path, sha256 and num. Raises IntegrityError for a part that is not as the
    manifest says.
    """

    def __init__(self, folder: Path, parts: Sequence[Mapping[str, Any]], make: Callable[..., Entry]) -> None:
        self.folder, self.parts, self._make = folder, parts, make
        self._read: dict[str, list[tuple[int, Entry]]] = {}

    def named(self, name: str) -> list[Entry]:
        """The entries of one name, in order."""
        return [entry for _, entry in self._placed(name)]

    def __len__(self) -> int:
        return sum(int(part["num"]) for part in self.parts)

    def __iter__(self) -> Iterator[Entry]:
        names = dict.fromkeys(str(part["name"]) for part in self.parts)
        placed = [pair for name in names for pair in self._placed(name)]
        return (entry for _, entry in sorted(placed, key=lambda pair: pair[0]))

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Entry]: ...
    def __getitem__(self, at: int | slice) -> Entry | Sequence[Entry]:
        return list(self)[at]

    def _placed(self, name: str) -> list[tuple[int, Entry]]:
        """Entries of one name, each with its place among all."""
        if name not in self._read:
            parts = [part for part in self.parts if part["name"] == name]
            paths = [self.folder / str(part["path"]) for part in parts]
            found = store_of(self.folder).read_all(paths) if paths else iter(())
            try:
                self._read[name] = [
                    pair
                    for part, path, raw in zip(parts, paths, found, strict=True)
                    for pair in self._rows(part, path, raw)
                ]
            except FileNotFoundError as error:
                raise IntegrityError(
                    f"`{error.filename or self.folder}` is missing: the manifest beside it names it",
                    hint="remove the step's folder and run again",
                ) from error
        return self._read[name]

    def _rows(self, part: Mapping[str, Any], path: Path, raw: bytes) -> Iterator[tuple[int, Entry]]:
        body, _, digest = open_sealed(path, raw)
        with understood(path):
            columns = body["columns"]
            if digest != part["sha256"] or len(columns["at"]) != part["num"]:
                raise IntegrityError(f"`{path}` is not the list that its manifest names")
            names = [name for name in columns if name != "at"]
            for at, *values in zip(columns["at"], *(columns[name] for name in names), strict=True):
                row = dict(zip(names, values, strict=True))
                below(self.folder, row["path"])
                yield whole(at, "at"), self._make(**row)


def put_parts(folder: Path, what: str, key: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write rows in parts of those with one value under `key`; return what a manifest says of the parts."""
    placed = sorted(enumerate(rows), key=lambda pair: (pair[1][key], pair[0]))
    parts = []
    for name, group in groupby(placed, key=lambda pair: str(pair[1][key])):
        members = list(group)
        for start in range(0, len(members), PART_ENTRIES):
            chosen = members[start : start + PART_ENTRIES]
            columns: dict[str, list[Any]] = {column: [row[column] for _, row in chosen] for column in rows[0]}
            digest, data = seal_json({"columns": columns | {"at": [at for at, _ in chosen]}}, {})
            path = f"{FOLDER}/{what}-{name}-{digest[:12]}.json"
            put_if_absent(folder / path, data)
            parts.append({"name": name, "path": path, "sha256": digest, "num": len(chosen)})
    return parts
