"""Losses on repeated tokens and scheduled sampling: gradients by autograd, and which tokens they touch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.errors import UsageError
from gristmill.trainer.config import LossSettings
from gristmill.trainer.data.batch import IGNORED, TokenBatch
from gristmill.trainer.model import loss as module
from gristmill.trainer.model.loss import chunked_loss
from gristmill.trainer.optimize.negatives import NONE, negatives_of
from gristmill.trainer.optimize.scheduled import share_at, with_own_inputs
from gristmill.trainer.train import run

V, PADDED, D, N, W = 29, 64, 16, 40, 5


def plain(z: Tensor, targets: Tensor, negatives: Tensor, settings: LossSettings) -> Tensor:
    """The definitions, one position and one negative at a time."""
    total = z.new_zeros(())
    for row, target, others in zip(z, targets.tolist(), negatives.tolist(), strict=True):
        if target == IGNORED:
            continue
        p = row.softmax(-1)
        total = total - row.log_softmax(-1)[target]
        own = [other for other in others if other != NONE]
        total = total - settings.unlikelihood * sum(
            (torch.log(1 - p[other]) for other in own), start=z.new_zeros(())
        )
        ahead = sum((torch.exp(row[other] - row[target]) for other in own), start=z.new_zeros(()))
        total = total + settings.contrastive * torch.log(1 + ahead)
    return total


@pytest.mark.parametrize(
    "settings",
    [
        LossSettings(unlikelihood=1.0),
        LossSettings(contrastive=0.7),
        LossSettings(unlikelihood=0.3, contrastive=1),
    ],
)
@pytest.mark.parametrize("softcap", [0.0, 3.0])
def test_both_losses_and_their_gradients_equal_autograd(
    settings: LossSettings, softcap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", {"cpu": 7 * PADDED})
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=draw, requires_grad=True)
    weight = torch.randn(PADDED, D, generator=draw, requires_grad=True)
    targets = torch.randint(0, V, (N,), generator=draw)
    targets[::9] = IGNORED
    tokens = torch.randint(0, V, (1, N), generator=draw)
    negatives = negatives_of(tokens, torch.arange(N)[None], targets[None], W)[0]
    z = hidden.double() @ weight[:V].double().t()
    z = softcap * torch.tanh(z / softcap) if softcap else z
    expected = plain(z, targets, negatives, settings) / 3
    wanted = torch.autograd.grad(expected, (hidden, weight))
    found = chunked_loss(hidden, weight, targets, V, 1 / 3, settings, softcap=softcap, negatives=negatives)
    found.total.backward()
    torch.testing.assert_close(found.total.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hidden.grad, wanted[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(weight.grad, wanted[1], atol=1e-4, rtol=1e-4)


def test_negatives_are_the_distinct_tokens_before_in_the_same_document() -> None:
    tokens = torch.tensor([[9, 1, 2, 1, 9, 3, 3]])  # 9 ends the document before
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2]])
    targets = torch.tensor([[1, 2, 1, 4, 3, 3, 5]])
    found = negatives_of(tokens, positions, targets, 3)[0]
    assert [sorted(set(row) - {NONE}) for row in found.tolist()] == [[], [1], [2], [1, 2], [], [], [3]]
    assert all(row.count(token) <= 1 for row in found.tolist() for token in set(row) - {NONE})


def test_scheduled_sampling_replaces_its_share_within_documents_and_draws_alike_again() -> None:
    inputs = torch.zeros(8, 250, dtype=torch.int64)
    positions = torch.arange(250).expand(8, 250) % 50
    batch = TokenBatch(inputs, inputs + 1, positions, inputs)
    own = torch.arange(250).expand(8, 250) + 100
    mixed = with_own_inputs(batch, lambda _: own, 0.25, 3, range(8))
    changed = mixed.inputs != inputs
    assert 0.2 < changed.float().mean() < 0.3
    assert not changed[:, ::50].any()
    rows, columns = changed.nonzero(as_tuple=True)
    assert (mixed.inputs[rows, columns] == own[rows, columns - 1]).all()
    assert (with_own_inputs(batch, lambda _: own, 0.25, 3, range(8)).inputs == mixed.inputs).all()
    assert with_own_inputs(batch, lambda _: own, 0.0, 3, range(8)) is batch
    for seed in (-1, 2**63, 2**64):  # any is one of its own
        assert (with_own_inputs(batch, lambda _: own, 0.25, seed, range(8)).inputs != mixed.inputs).any()
    assert [share_at(step, 5, 0.4) for step in (0, 2, 4)] == [0.0, 0.2, 0.4]


def test_scheduled_sampling_draws_a_sample_alike_in_any_part_and_on_any_rank() -> None:
    inputs, positions = torch.zeros(8, 250, dtype=torch.int64), torch.arange(250).expand(8, 250)
    batch = TokenBatch(inputs, inputs + 1, positions, inputs)

    def drawn(rows: slice) -> torch.Tensor:
        part = TokenBatch(*(t[rows] for t in (inputs, inputs + 1, positions, inputs)))
        return with_own_inputs(part, lambda _: part.inputs + 1, 0.5, 3, range(40, 48)[rows]).inputs

    whole = with_own_inputs(batch, lambda _: inputs + 1, 0.5, 3, range(40, 48)).inputs
    assert len(whole.unique(dim=0)) == 8
    for rows in (slice(0, 3), slice(3, 8), slice(1, None, 2), slice(2, None, 3)):
        assert drawn(rows).equal(whole[rows])


@pytest.mark.parametrize(
    "values", [{"unlikelihood": -1}, {"contrastive": -0.1}, {"negatives": 0}, {"scheduled_sampling": 1.5}]
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(UsageError, match=f"loss.{name}"):
        LossSettings(**values)


@pytest.mark.parametrize("values", [{"unlikelihood": 1.0}, {"contrastive": 1.0}, {"scheduled_sampling": 0.5}])
def test_a_model_trains_with_each_and_alike_when_it_is_repeated(
    values: dict[str, float], tmp_path: Path, corpus: Callable[..., Path]
) -> None:
    mix = corpus()

    def last_loss(name: str, loss: dict[str, float]) -> float:
        model = {"num_layers": 1, "width": 16, "num_heads": 2, "ffn": 32, "context": 32}
        how = {"shards": str(mix), "run": str(tmp_path / name), "model": model, "loss": loss}
        return float(run({**how, "steps": 4, "batch": 4, "threads": 1, "device": "cpu"})["loss"])

    first = last_loss("first", values)
    assert last_loss("again", values) == first != last_loss("plain", {})
