"""What a step reads: rows of tokens, gathered by index from the shards' mapped files.

All ranges of a batch are copied at once, shard by shard, by `np.take`, which holds no Python lock however
little it copies: the thread that launches kernels goes on while a page comes from the disk. (Slices of fewer
than 500 numbers are copied under the lock.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gristmill.trainer.data.shards import Ints, Stream

IGNORED = -100  # the target of padding


@dataclass(frozen=True)
class TokenBatch:
    """Rows of one step, all int64 of shape (rows, context); `sources` is -1 and `targets` IGNORED on
    padding."""

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    sources: torch.Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def rows(self, start: int, stop: int) -> TokenBatch:
        return TokenBatch(
            *(tensor[start:stop] for tensor in (self.inputs, self.targets, self.positions, self.sources))
        )

    def num_targets(self) -> int:
        return int((self.targets != IGNORED).sum())

    def pinned(self) -> TokenBatch:
        """Return the batch in memory that is copied to a GPU without waiting; for the loader's threads."""
        return TokenBatch(
            *(part.pin_memory() for part in (self.inputs, self.targets, self.positions, self.sources))
        )

    def to(self, device: torch.device) -> TokenBatch:
        """Return the batch on a device; whose tokens are whose is asked on the CPU only."""
        if device.type != "cuda":
            return self
        parts = (self.inputs, self.targets, self.positions)
        inputs, targets, positions = (part.to(device, non_blocking=True) for part in parts)
        return TokenBatch(inputs, targets, positions, self.sources)


@dataclass(frozen=True)
class Gathered:
    """The targets of ranges, one after the other, and what belongs to each: int64 arrays of equal length."""

    inputs: Ints
    targets: Ints
    positions: Ints
    sources: Ints


def gather(stream: Stream, starts: Ints, stops: Ints) -> Gathered:
    """Read ranges of a stream, each at least one token; a range that starts inside a document counts
    positions from its own start. Raises IntegrityError for a token outside the vocabulary.

    Each range is read from one token before its first target, into slots of its own; a range at the stream's
    beginning finds an end of document there.
    """
    slots = stops - starts + 1
    first = np.cumsum(slots) - slots
    pieces = stream.split(np.maximum(starts - 1, 0), stops)
    stream.expect(pieces)
    sizes = pieces.stops - pieces.starts
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places = within + np.repeat(pieces.starts, sizes)
    begins = starts[pieces.ranges]
    slot = within + np.repeat(first[pieces.ranges] + 1 + pieces.at - begins, sizes)
    floor = np.repeat(begins - pieces.at + pieces.starts, sizes)  # the range's start, in its shard's tokens

    tokens = np.full(slots.sum(), stream.shards.eos_id, np.int64)
    positions, sources = np.zeros_like(tokens), np.zeros_like(tokens)
    found = [np.empty_like(places) for _ in range(3)]
    for shard, a, b in pieces.by_shard(np.cumsum(sizes)):
        part = stream.tokens_at(shard, places[a:b])
        for column, values in zip(found, part, strict=True):
            column[a:b] = values
    tokens[slot], sources[slot] = found[0], found[2]
    positions[slot] = places - np.maximum(found[1], floor)
    is_target = np.ones(len(tokens), bool)
    is_target[first] = False
    at = np.flatnonzero(is_target)
    return Gathered(tokens[at - 1], tokens[at], positions[at], sources[at])


def collate(shape: tuple[int, int], eos_id: int, *parts: tuple[Gathered, Ints, Ints]) -> TokenBatch:
    """Lay gathered targets into a batch of (rows, context): each part names its rows, and how many targets
    each of them takes. Padding is a document of its own whose targets are ignored."""
    rows, context = shape
    inputs, targets = np.full(shape, eos_id, np.int64), np.full(shape, IGNORED, np.int64)
    sources, filled = np.full(shape, -1, np.int64), np.zeros(rows, np.int64)
    positions = np.empty(shape, np.int64)
    for gathered, of_rows, lengths in parts:
        filled[of_rows] = lengths
        column = np.arange(len(gathered.inputs)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = np.repeat(of_rows * context, lengths) + column
        inputs.reshape(-1)[place], targets.reshape(-1)[place] = gathered.inputs, gathered.targets
        positions.reshape(-1)[place], sources.reshape(-1)[place] = gathered.positions, gathered.sources
    padding = np.arange(context) - filled[:, None]
    np.copyto(positions, padding, where=padding >= 0)
    return TokenBatch(*map(torch.from_numpy, (inputs, targets, positions, sources)))
