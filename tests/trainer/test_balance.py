"""The balance of training is what its batches hold, and nothing goes missing where documents meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gristmill.trainer.config import DataSettings
from gristmill.trainer.data.balance import balance
from gristmill.trainer.data.batch import IGNORED
from gristmill.trainer.data.loader import BatchLoader
from gristmill.trainer.data.order import EpochOrder
from gristmill.trainer.data.shards import ShardSet

Corpus = Callable[..., Path]
MANNERS = [
    DataSettings(),
    DataSettings(packing="bestfit"),
    DataSettings(shuffle_shards=2),
]


def counted(loader: BatchLoader, num_samples: int) -> dict[str, int]:
    """The balance by going through the batches themselves."""
    seen: set[tuple[int, int]] = set()
    sums: Counter[str] = Counter()
    for number in range(num_samples):
        batch = loader.batch(number, 1)
        target, there = batch.targets != IGNORED, batch.sources >= 0
        sums.update(
            places=target.numel(), in_steps=int(target.sum()), padded=int((~there).sum()),
            masked=int((there & ~target).sum()),
        )  # fmt: skip
        stream, ranges = loader.ranges(number)
        for start, stop in ranges:
            for shard, first, last in stream.pieces(start, stop):
                seen |= {(shard, place) for place in range(first, last)}
    whole = loader.shards.num_tokens
    left = {"shards": whole, "seen": len(seen), "never_seen": whole - len(seen), "skipped": 0}
    return {**{name: sums[name] for name in ("places", "in_steps", "padded", "masked")}, **left}


@pytest.mark.parametrize("manner", MANNERS, ids=["windows", "bestfit", "grouped"])
def test_the_balance_is_what_the_batches_hold(corpus: Corpus, manner: DataSettings) -> None:
    loader = BatchLoader(ShardSet(corpus()), 32, seed=3, settings=manner)
    for num_samples in (0, 1, 7, loader.num_samples, loader.num_samples + 5):
        assert asdict(balance(loader, num_samples)) == counted(loader, num_samples)


def test_a_blend_of_sources_never_sees_what_its_weights_leave_out(corpus: Corpus) -> None:
    shards = ShardSet(corpus(kind="sources", weights={"web": 1.0, "code": 0.0}))
    loader = BatchLoader(shards, 32, seed=3)
    assert asdict(balance(loader, 3 * loader.num_samples)) == counted(loader, 3 * loader.num_samples)
    assert balance(loader, 3 * loader.num_samples).never_seen == shards.sources[1].tokens > 0


@pytest.mark.parametrize("groups", [None, [3, 7, 8, 20]])
def test_an_order_is_asked_for_many_samples_at_once(groups: list[int] | None) -> None:
    order = EpochOrder(20, 1, "x", groups)
    for first, count in ((0, 20), (20, 20), (44, 9), (40, 0), (13, 50)):
        assert order.many(first, count).tolist() == [order(first + at) for at in range(count)]


@pytest.mark.parametrize("manner", MANNERS, ids=["windows", "bestfit", "grouped"])
@pytest.mark.parametrize("context", [1, 7, 32, 4096])
def test_nothing_goes_missing_or_is_made_up_at_the_borders_of_documents(
    shards: ModuleType, tmp_path: Path, manner: DataSettings, context: int
) -> None:
    """Each token is a number of its own, so that its place is known: every one is a target once an epoch,
    after the token before it in its document or, at its document's start, after an end token; and the end of
    each document is a target after its last token."""
    lengths = np.random.default_rng(1).integers(0, 40, 60).tolist()
    numbers = iter(range(1, 10_000))
    documents: list[Any] = [
        ([next(numbers) for _ in range(length)], number % 2) for number, length in enumerate(lengths)
    ]
    folder = shards.write_shards(
        tmp_path / "s", [documents[:20], [], documents[20:21], documents[21:]], vocab=10_000
    )
    expected = Counter(
        pair for tokens, _ in documents for pair in zip([0, *tokens], [*tokens, 0], strict=True)
    )
    loader = BatchLoader(ShardSet(folder), context, settings=manner)
    found: Counter[tuple[int, int]] = Counter()
    for number in range(loader.num_samples):
        batch = loader.batch(number, 1)
        there = batch.targets != IGNORED
        found.update(zip(batch.inputs[there].tolist(), batch.targets[there].tolist(), strict=True))
    assert found == expected
