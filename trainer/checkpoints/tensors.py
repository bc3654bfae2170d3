"""The tensors of a checkpoint folder: written by torch.distributed.checkpoint, read by a description in JSON.

    write(state, folder, group)                       # collective; returns the digests of this rank's files
    read(folder, state, group)                        # into the tensors of `state`, in place

torch keeps where each part of a tensor lies in `.metadata`, a pickle: reading it would run whatever a
stranger put there. The same table is written as `tensors.json` and only that is read; the parts themselves go
through `torch.load(weights_only=True)`. `.metadata` stays for torch's own tools.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as _dcp
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from gristmill.errors import IntegrityError, UsageError
from gristmill.files.inside import read_object

TABLE = "tensors.json"

State = dict[str, Tensor]
dcp: Any = _dcp  # its functions are not exported explicitly


def describe(metadata: Metadata) -> dict[str, Any]:
    """Return what `.metadata` says of each tensor as plain values: type, shape, and where its parts lie."""
    table = {}
    for name, entry in metadata.state_dict_metadata.items():
        assert isinstance(entry, TensorStorageMetadata), name
        parts = []
        for chunk in entry.chunks:
            place = metadata.storage_data[MetadataIndex(name, chunk.offsets)]
            parts.append(
                {
                    "offsets": list(chunk.offsets), "sizes": list(chunk.sizes),
                    "file": place.relative_path, "at": place.offset, "bytes": place.length,
                }
            )  # fmt: skip
        kind = str(entry.properties.dtype).removeprefix("torch.")
        table[name] = {"dtype": kind, "shape": list(entry.size), "parts": parts}
    return table


def read_table(folder: Path) -> dict[str, Any]:
    """Read `tensors.json`."""
    try:
        return read_object(folder / TABLE)
    except (OSError, IntegrityError) as error:
        raise IntegrityError(
            f"the checkpoint's list of tensors cannot be read: {error}", where=str(folder)
        ) from error


class TableReader(FileSystemReader):
    """Read a checkpoint by `tensors.json`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        tensors: dict[str, Any] = {}
        storage = {}
        for name, entry in read_table(self.folder).items():
            chunks = []
            for part in entry["parts"]:
                if Path(part["file"]).name != part["file"]:
                    raise IntegrityError(
                        f"the part of {name} lies outside the checkpoint: {part['file']}",
                        where=str(self.folder / TABLE),
                    )
                offsets = torch.Size(part["offsets"])
                chunks.append(ChunkStorageMetadata(offsets, torch.Size(part["sizes"])))
                storage[MetadataIndex(name, offsets)] = _StorageInfo(part["file"], part["at"], part["bytes"])
            kind = TensorProperties(dtype=getattr(torch, entry["dtype"]))
            tensors[name] = TensorStorageMetadata(kind, torch.Size(entry["shape"]), chunks)
        return Metadata(tensors, storage_data=storage, storage_meta=StorageMeta(load_id=self.load_id))


def read(folder: Path, state: State, process_group: Any = None, alone: bool = True) -> None:
    """Read tensors into those of `state`, in place; names, shapes and types must match."""
    refuse_other_tensors(read_table(folder), state, folder)
    # torch raises CheckpointException, a BaseException, when a rank fails
    failures = (Exception, dcp.api.CheckpointException)
    try:
        with quiet():
            dcp.load(
                {name: tensor.detach() for name, tensor in state.items()},
                storage_reader=TableReader(folder),
                process_group=process_group,
                no_dist=alone,
            )
    except failures as error:
        raise IntegrityError(
            f"the checkpoint cannot be read: {str(error).strip().splitlines()[-1]}", where=str(folder)
        ) from error


def refuse_other_tensors(table: Mapping[str, Any], state: State, folder: Path) -> None:
    """Refuse tensors that are missing, or of another shape or type, by name."""
    for name, tensor in state.items():
        entry = table.get(name)
        if entry is None:
            raise UsageError(
                f"the checkpoint holds no `{name}`",
                where=str(folder),
                hint="it was written with another model or optimizer; use another run folder",
            )
        kind, shape = str(tensor.dtype).removeprefix("torch."), list(tensor.shape)
        if (entry["dtype"], entry["shape"]) != (kind, shape):
            raise UsageError(
                f"the checkpoint's `{name}` is {entry['dtype']} {entry['shape']}, here it is {kind} {shape}",
                where=str(folder),
            )


def digests(folder: Path, pattern: str) -> dict[str, dict[str, Any]]:
    """Return size and sha256 of the files that match."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        with path.open("rb") as file:
            found[path.name] = {
                "bytes": path.stat().st_size,
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's warning that a single process saves alone, which is what was asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
