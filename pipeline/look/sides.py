"""Documents that changed sides between two runs, from index sidecars: ids are compared, texts are not
read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.files.disk import read_file
from gristmill.files.parquet import read_parquet
from gristmill.index import PAIR
from gristmill.manifest import Manifest
from gristmill.pipeline.run.records.final import SourceFiles, final_documents, outlet

Keys = npt.NDArray[np.bytes_]
EXAMPLES = 5
ABSENT = "not in the input"


@dataclass(slots=True)
class Moved:
    """Documents that one run keeps and the other does not: how many, because of what there, and a few of
    them."""

    count: int = 0
    because: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)


def changed_sides(one: Mapping[str, Manifest], other: Mapping[str, Manifest]) -> tuple[Moved, Moved]:
    """Return what only the first run keeps, and what only the other does."""
    kept = _kept(one), _kept(other)
    return _moved(np.setdiff1d(*kept, assume_unique=True), other), _moved(
        np.setdiff1d(*kept[::-1], assume_unique=True), one
    )


def _kept(manifests: Mapping[str, Manifest]) -> Keys:
    found = [
        read_keys(index)[0]
        for part in final_documents(manifests)
        for _, index in _with_index(manifests, part, "documents")
    ]
    return np.unique(np.concatenate(found)) if found else np.empty(0, "S16")


def _with_index(
    manifests: Mapping[str, Manifest], part: SourceFiles, kind: str
) -> Iterator[tuple[Path, Path]]:
    """A source's data files in one step, each with its sidecar."""
    manifest = manifests[part.step]
    indexes = [entry for entry in manifest.named(f"{kind}-index") if entry.source == part.source]
    for (path, _), index in zip(part.files, indexes, strict=True):
        yield path, manifest.folder / index.path


def read_keys(path: Path) -> tuple[Keys, npt.NDArray[np.uint32]]:
    """Read a sidecar's keys, in order, and their rows. All have 16 bytes, so that bytes strings compare as
    keys do."""
    raw = np.frombuffer(read_file(path), np.uint8).reshape(-1, PAIR.itemsize)
    keys = np.ascontiguousarray(raw[:, :16]).view("S16").ravel()
    return keys, np.ascontiguousarray(raw[:, 16:]).view("<u4").ravel()


def _moved(keys: Keys, there: Mapping[str, Manifest]) -> Moved:
    """Find out what became of documents in the run that did not keep them."""
    moved = Moved(len(keys))
    if not len(keys):
        return moved
    found = np.zeros(len(keys), bool)
    for kind, column in (("removed", "rule"), ("failed", "error")):
        for part in outlet(there, kind):
            for path, index in _with_index(there, part, kind):
                theirs, rows = read_keys(index)
                place = np.searchsorted(keys, theirs)
                hits = np.flatnonzero(keys[np.minimum(place, len(keys) - 1)] == theirs)
                if len(hits):
                    found[place[hits]] = True
                    _explain(moved, path, column, rows[hits])
    absent = int(len(keys) - found.sum())
    if absent:
        moved.because[ABSENT] += absent
    return moved


def _explain(moved: Moved, path: Path, column: str, rows: npt.NDArray[np.uint32]) -> None:
    table = read_parquet(path, columns=["id", "url", column]).take(np.sort(rows))
    moved.because.update(table[column].to_pylist())
    for row in table.slice(0, max(0, EXAMPLES - len(moved.examples))).to_pylist():
        moved.examples.append({"id": row["id"].hex(), "url": row["url"], "because": row[column]})
