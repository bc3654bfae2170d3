"""Batches as a pure function of the sample number: the loader's whole state is one integer.

A sample is `context` targets, given as ranges of the token stream. The input of a target is the token before
it; before a document that is the EOS of the one before, so EOS both closes a document and opens the next, and
every token of the shards is a target exactly once per epoch. `positions` count from the start of the document
or of the range: they are the only mask input. A rank takes every `world`-th sample of a step, so the batch of
a step is the same for any world size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from gristmill.errors import InputError, UsageError
from gristmill.token_shards import MANIFEST
from gristmill.trainer.config import DataSettings
from gristmill.trainer.data.order import Blend, EpochOrder, Ints
from gristmill.trainer.data.shards import ShardSet, Stream

IGNORED = -100  # the target of padding

Range = tuple[int, int]


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


class Samples(Protocol):
    """Samples of one stream, by index: each a list of ranges of targets, together at most `context` long."""

    stream: Stream
    groups: list[int] | None

    def __len__(self) -> int: ...

    def ranges(self, index: int) -> list[Range]: ...

    def lengths(self, indices: Ints) -> Ints:
        """Return the number of targets of each of these samples."""
        ...


class Windows:
    """Concatenate and chop: sample i is targets i*T to (i+1)*T; the last one may be shorter."""

    def __init__(self, stream: Stream, context: int, shards_per_group: int = 0) -> None:
        self.stream, self.context = stream, context
        self.groups: list[int] | None = None
        if shards_per_group:
            ends = [-(-end // context) for end in stream.ends]
            self.groups = sorted({*ends[shards_per_group - 1 :: shards_per_group], len(self)})

    def __len__(self) -> int:
        return -(-self.stream.num_tokens // self.context)

    def ranges(self, index: int) -> list[Range]:
        start = index * self.context
        return [(start, min(start + self.context, self.stream.num_tokens))]

    def lengths(self, indices: Ints) -> Ints:
        return np.minimum(self.context, self.stream.num_tokens - indices * self.context)


class BatchLoader:
    """Serve batches of a shard set; `state` anywhere is the number of samples already taken."""

    def __init__(
        self, shards: ShardSet, context: int, seed: int = 0, settings: DataSettings | None = None
    ) -> None:
        settings = settings or DataSettings()
        self.shards, self.context = shards, context
        self.blend: Blend | None = None
        streams = [Stream.whole(shards)]
        if shards.kind == "sources":
            used = [index for index, source in enumerate(shards.sources) if _weight(shards, index) != 0]
            streams = [Stream.of_source(shards, index) for index in used]
            for index, stream in zip(used, streams, strict=True):
                if stream.num_tokens == 0:
                    raise InputError(
                        f"source {shards.sources[index].name!r} has no tokens, its weight is"
                        f" {shards.sources[index].weight}",
                        where=str(shards.folder / MANIFEST),
                        hint="give it documents, or take it out of the mixture",
                    )
            self.caps = [(shards.sources[index].name, shards.sources[index].epochs) for index in used]
            self.blend = Blend([_weight(shards, index) for index in used])
        self.parts = [_samples(stream, context, seed, settings) for stream in streams]
        self.orders = [
            EpochOrder(len(part), seed, f"samples {i}", part.groups) for i, part in enumerate(self.parts)
        ]

    @property
    def num_samples(self) -> int:
        """Return the samples of one pass over everything."""
        return sum(len(part) for part in self.parts)

    @property
    def pad_fraction(self) -> float:
        """Return the share of padding over all samples."""
        tokens = sum(part.stream.num_tokens for part in self.parts)
        return 1 - tokens / (self.num_samples * self.context)

    @property
    def num_cut(self) -> int:
        """Return how many documents best-fit packing had to cut."""
        return sum(getattr(part, "num_cut", 0) for part in self.parts)

    def check_caps(self, num_samples: int) -> None:
        """Refuse, before any work, a run that would repeat a source more often than its manifest allows."""
        if self.blend is None:
            return
        for part, (name, cap), taken in zip(
            self.parts, self.caps, self.blend.counts(num_samples), strict=True
        ):
            if cap is not None and taken > cap * len(part):
                most = int(cap * len(part) * num_samples / taken)
                raise UsageError(
                    f"source {name!r} would be repeated {taken / len(part):.2f} times, its cap is {cap:g}"
                    " epochs",
                    hint=(
                        f"train on at most about {most * self.context:,} tokens, lower its weight, or raise"
                        " its cap"
                    ),
                )

    def batch(self, first: int, count: int, rank: int = 0, world: int = 1) -> TokenBatch:
        """Return a rank's rows of the step that takes samples `first` to `first + count`."""
        parts, indices = (place[rank::world].tolist() for place in self.places(first, count))
        found = [
            (self.parts[part].stream, self.parts[part].ranges(index))
            for part, index in zip(parts, indices, strict=True)
        ]
        for stream, ranges in found:
            stream.expect(ranges)
        rows = [gather(stream, ranges) for stream, ranges in found]
        return collate(rows, self.context, self.shards.eos_id)

    def num_targets(self, first: int, count: int) -> int:
        """Return the targets of samples `first` to `first + count`: every rank knows those of all."""
        parts, indices = self.places(first, count)
        return sum(
            int(part.lengths(indices[parts == number]).sum()) for number, part in enumerate(self.parts)
        )

    def places(self, first: int, count: int) -> tuple[Ints, Ints]:
        """Return, of samples `first` to `first + count`, the part each is of and its index there."""
        if self.blend is None:
            return np.zeros(count, np.int64), self.orders[0].many(first, count)
        parts, nth = self.blend.many(first, count)
        indices = np.empty(count, np.int64)
        for part in np.unique(parts).tolist():
            mine = parts == part
            indices[mine] = self.orders[part].many(int(nth[mine][0]), int(mine.sum()))
        return parts, indices

    def sample(self, number: int) -> PaddedRow:
        """Return sample `number` of the endless sequence of epochs."""
        return gather(*self.ranges(number))

    def ranges(self, number: int) -> tuple[Stream, list[Range]]:
        """Return where the targets of sample `number` lie."""
        part, nth = self.blend(number) if self.blend else (0, number)
        return self.parts[part].stream, self.parts[part].ranges(self.orders[part](nth))


@dataclass(frozen=True)
class PaddedRow:
    """One row, not yet padded: numpy arrays of equal length."""

    inputs: np.ndarray
    targets: np.ndarray
    positions: np.ndarray
    sources: np.ndarray


def gather(stream: Stream, ranges: list[Range]) -> PaddedRow:
    """Read the ranges of one sample; a range that starts inside a document counts positions from its own
    start."""
    parts = []
    for start, stop in ranges:
        tokens = stream.read(max(start - 1, 0), stop)
        if start == 0:
            tokens = np.concatenate(([stream.shards.eos_id], tokens))
        doc_starts, sources = stream.documents(start, stop)
        positions = np.arange(start, stop) - np.maximum(doc_starts, start)
        parts.append((tokens[:-1], tokens[1:], positions, sources))
    return PaddedRow(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def collate(samples: list[PaddedRow], context: int, eos_id: int) -> TokenBatch:
    """Stack samples to (rows, context); padding is a document of its own whose targets are ignored."""
    shape = (len(samples), context)
    inputs, targets = np.full(shape, eos_id, np.int64), np.full(shape, IGNORED, np.int64)
    positions, sources = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    for row, sample in enumerate(samples):
        used = len(sample.inputs)
        inputs[row, :used], targets[row, :used] = sample.inputs, sample.targets
        positions[row, :used], sources[row, :used] = sample.positions, sample.sources
        positions[row, used:] = np.arange(context - used)
    return TokenBatch(*map(torch.from_numpy, (inputs, targets, positions, sources)))


def prefetch(
    make: Callable[[int], TokenBatch], steps: range, ahead: int = 4, threads: int = 2
) -> Iterator[TokenBatch]:
    """Yield `make(step)` for each step in order, made up to `ahead` batches ahead by threads; an error is
    raised where its batch would come.

    Copies from mapped files, where a thread waits for the disk, hold no Python lock: the thread that launches
    kernels goes on.
    """
    with ThreadPoolExecutor(threads, "loader") as pool:
        made: deque[Future[TokenBatch]] = deque()
        try:
            for step in steps:
                made.append(pool.submit(make, step))
                if len(made) > ahead:
                    yield made.popleft().result()
            while made:
                yield made.popleft().result()
        finally:
            for waiting in made:
                waiting.cancel()


def _samples(stream: Stream, context: int, seed: int, settings: DataSettings) -> Samples:
    if settings.packing == "bestfit":
        from gristmill.trainer.data.packing import PackedStream

        return PackedStream(stream, context, seed)
    return Windows(stream, context, settings.shuffle_shards)


def _weight(shards: ShardSet, index: int) -> float:
    source = shards.sources[index]
    return float(source.tokens if source.weight is None else source.weight)
