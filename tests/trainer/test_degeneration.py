"""Decoding strategies and what is measured of generated text, on cases small enough to count by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import UsageError
from gristmill.trainer.config import ModelConfig
from gristmill.trainer.data.shards import ShardSet, Stream
from gristmill.trainer.evaluation.contrastive import contrastive_search
from gristmill.trainer.evaluation.degeneration import (
    STRATEGIES,
    Memory,
    calibration,
    measures,
    sampling_of,
    zipf,
)
from gristmill.trainer.evaluation.generate import Sampling, choose, generate
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights


@pytest.fixture(scope="module")
def model() -> Model:
    made = Model(ModelConfig(vocab=40, num_layers=2, width=16, num_heads=2, ffn=32, context=48))
    init_weights(made, 3)
    with torch.no_grad():
        made.embed.weight.mul_(25)  # as sure of itself as a trained one
    return made.eval()


def drawn(logits: list[float], sampling: Sampling, times: int = 400) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    return {choose(torch.tensor(logits).log(), sampling, generator) for _ in range(times)}


def test_min_p_keeps_tokens_of_a_share_of_the_likeliest() -> None:
    assert drawn([0.5, 0.3, 0.15, 0.05], Sampling(temperature=1, min_p=0.25)) == {0, 1, 2}
    assert drawn([0.5, 0.3, 0.15, 0.05], Sampling(temperature=1, min_p=0.5)) == {0, 1}


def test_typical_sampling_leaves_out_the_likeliest_where_it_says_too_little() -> None:
    # Entropy 1.9 nats or so: a token of .4 surprises by .9, those of .1 by 2.3.
    shares = [0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    assert drawn(shares, Sampling(temperature=1, typical_p=0.5)) == {1, 2, 3, 4, 5}
    assert drawn(shares, Sampling(temperature=1, typical_p=1.0)) == set(range(7))


def test_contrastive_search_without_penalty_is_greedy_and_with_one_repeats_less(model: Model) -> None:
    greedy = generate(model, [[1, 2, 3]], 0, Sampling(max_tokens=30))[0]
    assert contrastive_search(model, [1, 2, 3], 0, 4, 0.0, 30, 40) == greedy
    other = generate(model, [[1, 2, 3]], 0, Sampling(max_tokens=30, top_k=4, contrastive=0.6))[0]
    assert measures([other])["rep_1"] <= measures([greedy])["rep_1"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_generates(model: Model, strategy: str) -> None:
    first, again = (generate(model, [[1, 2]], 0, sampling_of(strategy, 12)) for _ in range(2))
    assert first == again and len(first[0]) <= 12 and all(0 <= token < 40 for token in first[0])


@pytest.mark.parametrize(
    "values",
    [
        {"typical_p": 0},
        {"min_p": 1.0},
        {"contrastive": 0.6},
        {"contrastive": 0.6, "top_k": 4, "temperature": 1.0},
    ],
)
def test_decoding_that_means_nothing_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Sampling(**values)


def test_measures_count_what_repeats() -> None:
    found = measures([[1, 2, 1, 2, 1, 2], [3, 4, 5, 6, 7, 8]])
    assert found["rep_2"] == pytest.approx((3 / 5 + 0) / 2)  # of 5 bigrams 2 differ; of 5 all do
    assert found["distinct_1"] == 8 / 12
    assert found["self_overlap"] == 0.0
    assert measures([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]])["self_overlap"] == 0.5
    assert measures([[7] * 10])["entropy"] == 0.0
    assert zipf({rank: round(1000 / rank) for rank in range(1, 100)}) == pytest.approx(1.0, abs=0.02)


def test_memory_finds_stretches_of_the_shards_and_no_others(corpus: Callable[..., Path]) -> None:
    shards = ShardSet(corpus())
    tokens = Stream.whole(shards).read(0, 200).tolist()
    memory = Memory(shards, length=20)
    assert memory.share([tokens[30:60]]) == (1.0, 11)
    assert memory.share([[5] * 40])[0] == 0.0
    assert memory.share([[1, 2]]) == (0.0, 0)


def test_calibration_is_the_gap_between_what_is_said_and_what_is_right(model: Model) -> None:
    row = [0, 1, 2, *generate(model, [[0, 1, 2]], 99, Sampling(max_tokens=40))[0]]
    found = calibration(model, [row])
    assert sum(count for _, _, count in found.bins) == len(row) - 1
    assert 0 <= found.error <= 1 and found.accuracy > 0.9  # greedy text is what the model foretells
