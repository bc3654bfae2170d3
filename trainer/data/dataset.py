"""Token shards as a PyTorch dataset, for anyone's DataLoader: by index, or a stream that resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from gristmill.errors import UsageError
from gristmill.files.inside import read_object
from gristmill.token_shards import MANIFEST
from gristmill.trainer.data.batch import gather
from gristmill.trainer.data.loader import Windows
from gristmill.trainer.data.order import EpochOrder
from gristmill.trainer.data.shards import ShardSet, Stream

Item = dict[str, torch.Tensor]
RUN_FILE = "run.json"  # of a run of recipes: its steps, and the folders they wrote


class TokenDataset(Dataset[Item]):
    """Windows of `context` tokens over all shards in the manifest's order; the last one may be padded.

    `dataset[i]` is `{"input_ids", "labels", "position_ids"}`, int64 of length `context`: labels are the
    tokens that follow (an end of document precedes the very first), -100 past the end; positions begin again
    with each document, so that attention can be masked at its borders. Item i depends on shards and `context`
    alone.

    `path` is a shard folder, or the output folder of a run that mixed. Raises UsageError where there are no
    shards.
    """

    def __init__(self, path: str | Path, context: int = 1024, *, split: str = "train") -> None:
        self.shards = ShardSet(_shard_folder(Path(path), split))
        self.context = context
        self._windows = Windows(Stream.whole(self.shards), context)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self):,} windows of {self.context} tokens, not {index}")
        sample = gather(self._windows.stream, *self._windows.ranges(np.array([index % len(self)])))
        return {
            "input_ids": _padded(sample.inputs, self.context, self.shards.eos_id),
            "labels": _padded(sample.targets, self.context, -100),
            "position_ids": _padded(sample.positions, self.context, 0),
        }

    def stream(self, seed: int = 0, *, rank: int = 0, num_ranks: int = 1) -> TokenStream:
        """Return the windows in the order of a keyed permutation, epoch after epoch, without end."""
        return TokenStream(self, seed, rank, num_ranks)


class TokenStream(IterableDataset[Item]):
    """Windows without end, each epoch in a new order that depends on the seed alone.

    `state_dict()` is the number of windows that all ranks have taken together: loaded again, on any number of
    ranks, the stream goes on with the very next one. Workers of a DataLoader share a rank's windows in turn;
    its order is then that of one process, and `windows_taken` is told to it by whoever counts batches.
    """

    def __init__(self, dataset: TokenDataset, seed: int, rank: int, num_ranks: int) -> None:
        if not 0 <= rank < num_ranks:
            raise UsageError(f"rank {rank} is none of {num_ranks}")
        self.dataset, self.seed, self.rank, self.num_ranks = dataset, seed, rank, num_ranks
        self.taken = 0
        self._order = EpochOrder(len(dataset), seed, "samples 0")

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        share, shares = (worker.id, worker.num_workers) if worker else (0, 1)
        number = self.taken + self.rank + share * self.num_ranks
        while True:
            if worker is None:
                self.taken += self.num_ranks
            yield self.dataset[self._order(number)]
            number += self.num_ranks * shares

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, and what it is of."""
        return {"taken": self.taken, "seed": self.seed, "shards": self.dataset.shards.sha256}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; raises UsageError for that of other shards or of another seed."""
        own = {**self.state_dict(), "taken": state["taken"]}
        if own != state:
            changed = [name for name in own if own[name] != state.get(name)]
            raise UsageError(f"the state is of another stream: {', '.join(changed)} differ")
        self.taken = int(state["taken"])


def _padded(values: npt.NDArray[Any], length: int, with_: int) -> torch.Tensor:
    return torch.nn.functional.pad(torch.from_numpy(values), (0, length - len(values)), value=with_)


def _shard_folder(path: Path, split: str) -> Path:
    """A shard folder itself, or the one that a run's step `mix` left, as its `run.json` says."""
    run = path / RUN_FILE
    if not run.is_file():
        if not (path / MANIFEST).is_file():
            raise UsageError(f"`{path}` holds no shards of split {split}", hint="name a shard folder itself")
        return path
    steps = read_object(run).get("steps", [])
    folders = [path / entry["folder"] for entry in steps if entry["name"] == "mix"]
    if not folders:
        raise UsageError(
            f"`{path}` holds no shards", hint="run its recipe up to `mix`, or name a shard folder"
        )
    found: Path = folders[0] / "shards" / split
    if not (found / MANIFEST).is_file():
        there = sorted(each.parent.name for each in found.parent.glob(f"*/{MANIFEST}"))
        raise UsageError(f"`{path}` holds no shards of split {split}", hint=f"it has {', '.join(there)}")
    return found
