"""Held-out evaluation: nats, perplexity, bits per byte and entropy per source, over whole documents and their
exact bytes.

The EOS that closes a document is scored and counts no byte. Long documents are cut at the context, as in
training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gristmill.errors import InputError
from gristmill.trainer.data.batch import TokenBatch, collate, gather
from gristmill.trainer.data.loader import Range
from gristmill.trainer.data.order import Permutation
from gristmill.trainer.data.shards import ShardSet, Stream
from gristmill.trainer.model.loss import TokenLosses
from gristmill.trainer.ranks.parallel import Group

ASK_EVERY = 8  # forward passes between two questions whether to stop


class HeldOut:
    """Which documents are scored, decided once: all, or per source the first in a keyed order up to a number
    of tokens."""

    def __init__(self, shards: ShardSet, context: int, tokens_per_source: int = 0) -> None:
        if shards.split != "heldout":
            raise InputError(
                f"the shards are of split {shards.split!r}, not heldout", where=str(shards.folder)
            )
        self.stream, self.context = Stream.whole(shards), context
        self.names = [source.name for source in shards.sources]
        table = self.stream.documents_table()
        starts, ends, sources = table.starts, table.stops, table.sources
        chosen = np.arange(len(ends))
        if tokens_per_source:
            order = Permutation(len(ends), 0, "heldout")(chosen)
            keep = []
            for source in range(len(self.names)):
                mine = order[sources[order] == source]
                before = np.cumsum(ends[mine] - starts[mine]) - (ends[mine] - starts[mine])
                keep.append(mine[before < tokens_per_source])
            chosen = np.sort(np.concatenate(keep))
        self.bytes = np.bincount(
            sources[chosen], weights=table.bytes[chosen], minlength=len(self.names)
        ).astype(np.int64)
        self.docs = np.bincount(sources[chosen], minlength=len(self.names))
        self.samples = _windows(
            list(zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True)), context
        )

    def batch(self, first: int, rows: int) -> TokenBatch:
        """Return samples `first` to `first + rows`; beyond the end rows are padding."""
        inside = self.samples[first : first + rows]
        shape, eos = (rows, self.context), self.stream.shards.eos_id
        if not inside:
            return collate(shape, eos)
        starts, stops = np.array([piece for ranges in inside for piece in ranges], np.int64).T
        lengths = np.array([sum(stop - start for start, stop in ranges) for ranges in inside])
        return collate(shape, eos, (gather(self.stream, starts, stops), np.arange(len(inside)), lengths))

    @torch.no_grad()
    def evaluate(
        self,
        score: Callable[[TokenBatch], TokenLosses],
        rows: int,
        group: Group,
        stop: Callable[[], bool] = lambda: False,
    ) -> list[dict[str, Any]] | None:
        """Return one row per source and one for all; `score` gives nats and entropy per target, flattened.

        `stop` is asked now and then, by all ranks at once; when it says so there is no result.
        """
        sums = torch.zeros(3, len(self.names), dtype=torch.float64)
        rounds = -(
            -len(self.samples) // (rows * group.world)
        )  # equal on every rank: a forward pass may be collective
        for turn in range(rounds):
            if turn % ASK_EVERY == 0 and stop():
                return None
            batch = self.batch((turn * group.world + group.rank) * rows, rows)
            nats, entropy = (part.double().cpu() for part in score(batch)[:2])
            sources = batch.sources.flatten()
            valid = sources >= 0
            for row, values in enumerate((nats, entropy, torch.ones_like(nats))):
                sums[row].index_add_(0, sources[valid], values[valid])
        sums = group.sum(sums)
        columns = [*zip(self.names, *sums.tolist(), self.bytes.tolist(), self.docs.tolist(), strict=True)]
        columns.append(("all", *sums.sum(1).tolist(), int(self.bytes.sum()), int(self.docs.sum())))
        return [_row(*column) for column in columns if column[3] > 0]


def _row(
    source: str, nats: float, entropy: float, tokens: float, num_bytes: int, docs: int
) -> dict[str, Any]:
    loss = nats / tokens
    return {
        "source": source,
        "docs": docs,
        "tokens": int(tokens),
        "bytes": num_bytes,
        "nats": nats,
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_byte": nats / (math.log(2) * num_bytes) if num_bytes else None,
        "entropy": entropy / tokens,
    }


def _windows(documents: list[Range], context: int) -> list[list[Range]]:
    """Lay documents end to end and cut at every `context` targets; each sample keeps its documents'
    ranges."""
    samples: list[list[Range]] = [[]]
    room = context
    for start, stop in documents:
        while start < stop:
            if room == 0:
                samples.append([])
                room = context
            cut = min(stop, start + room)
            samples[-1].append((start, cut))
            room -= cut - start
            start = cut
    return samples
