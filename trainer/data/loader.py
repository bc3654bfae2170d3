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
from typing import Protocol

import numpy as np

from gristmill.errors import InputError, UsageError
from gristmill.token_shards import MANIFEST
from gristmill.trainer.config import DataSettings
from gristmill.trainer.data.batch import Gathered, TokenBatch, collate, gather
from gristmill.trainer.data.order import Blend, EpochOrder, Ints
from gristmill.trainer.data.shards import ShardSet, Stream

Range = tuple[int, int]


class Samples(Protocol):
    """Samples of one stream, by index: each a list of ranges of targets, together at most `context` long."""

    stream: Stream
    groups: list[int] | None

    def __len__(self) -> int: ...

    def ranges(self, indices: Ints) -> tuple[Ints, Ints]:
        """Return starts and stops of the ranges of these samples, one sample after the other."""
        ...

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

    def ranges(self, indices: Ints) -> tuple[Ints, Ints]:
        starts = indices * self.context
        return starts, np.minimum(starts + self.context, self.stream.num_tokens)

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
        parts, indices = (place[rank::world] for place in self.places(first, count))
        laid = []
        for number in np.unique(parts).tolist():
            part, rows = self.parts[number], np.flatnonzero(parts == number)
            read = gather(part.stream, *part.ranges(indices[rows]))
            laid.append((read, rows, part.lengths(indices[rows])))
        return collate((len(indices), self.context), self.shards.eos_id, *laid)

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

    def sample(self, number: int) -> Gathered:
        """Return sample `number` of the endless sequence of epochs."""
        stream, ranges = self.ranges(number)
        return gather(stream, *np.array(ranges, np.int64).T)

    def ranges(self, number: int) -> tuple[Stream, list[Range]]:
        """Return where the targets of sample `number` lie."""
        part, nth = self.blend(number) if self.blend else (0, number)
        starts, stops = self.parts[part].ranges(np.array([self.orders[part](nth)]))
        return self.parts[part].stream, list(zip(starts.tolist(), stops.tolist(), strict=True))


def prefetch(
    make: Callable[[int], TokenBatch], steps: range, ahead: int = 4, threads: int = 2
) -> Iterator[TokenBatch]:
    """Yield `make(step)` for each step in order, made up to `ahead` batches ahead by threads; an error is
    raised where its batch would come.

    Copies from mapped files, where a thread waits for the disk, hold no Python lock (see `batch.gather`): the
    thread that launches kernels goes on.
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
