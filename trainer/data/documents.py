"""Which documents the samples of a step came from.

    for document in documents(loader, first=step * batch, count=batch): ...

A step's samples are a pure function of its number, so any step of any run can be asked for, also afterwards:

    shards, found = documents_of_step(Path("runs/a"), 1200)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gristmill.errors import GristmillError, IntegrityError, UsageError
from gristmill.trainer.checkpoints.checkpoint import Meta, find
from gristmill.trainer.config import DataSettings
from gristmill.trainer.data.loader import BatchLoader
from gristmill.trainer.data.remote import open_shards
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.fields import from_dict


@dataclass(frozen=True)
class Document:
    """A document of a shard set: where it lies, whose it is, its id in hex ("" in a set without ids)."""

    shard: str
    row: int
    source: str
    id: str

    @property
    def name(self) -> str:
        return self.id or f"{self.shard}:{self.row}"


def documents(loader: BatchLoader, first: int, count: int) -> list[Document]:
    """Return the documents of samples `first` to `first + count`, each once, in the order they come."""
    found: dict[tuple[int, int], None] = {}
    for number in range(first, first + count):
        stream, ranges = loader.ranges(number)
        for start, stop in ranges:
            for shard, a, b in stream.pieces(start, stop):
                rows = np.searchsorted(loader.shards.doc_ends(shard), [a, b - 1], side="right")
                found |= dict.fromkeys((shard, row) for row in range(int(rows[0]), int(rows[1]) + 1))
    return list(_named(loader.shards, list(found)))


def documents_of_step(run: Path, step: int) -> tuple[ShardSet, list[Document]]:
    """Return a run's shards, and the documents its step 1, 2, … (as its log counts) read."""
    meta = Meta.read(find(run))
    last = max(meta.steps, meta.step)
    if not 1 <= step <= last:
        raise UsageError(f"the run has the steps 1 to {last:,}, got {step:,}", where=str(run))
    data = from_dict(DataSettings, meta.settings["data"])
    shards = open_shards(meta.settings["shards"], data, run)
    if shards.sha256 != meta.shards_sha256:
        raise IntegrityError(
            "these are no longer the shards the run was trained on", where=meta.settings["shards"]
        )
    batch = int(meta.settings["batch"])
    first = int(meta.trunk.get("first_sample", 0)) + (step - 1) * batch
    return shards, documents(BatchLoader(shards, meta.model.context, meta.seed, data), first, batch)


def _named(shards: ShardSet, places: list[tuple[int, int]]) -> Iterator[Document]:
    for shard, row in places:
        try:
            id_ = shards.doc_ids(shard)[row].tobytes().hex()
        except (GristmillError, OSError):  # a set of another writer has no ids
            id_ = ""
        source = int(shards.doc_sources(shard)[row])
        yield Document(shards.shards[shard].name, row, shards.sources[source].name, id_)
