"""Updates equal torch's, schedules are pure functions, odd steps are skipped."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gristmill.errors import UsageError
from gristmill.trainer.command import with_settings
from gristmill.trainer.config import OptimizerSettings, Settings
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize import muon
from gristmill.trainer.optimize.muon import orthogonalise
from gristmill.trainer.optimize.optimizer import Optimizer
from gristmill.trainer.optimize.schedule import check_schedule, lr_factor
from gristmill.trainer.optimize.spikes import MIN_HISTORY, SpikeFilter

CONFIG = ModelConfig(vocab=50, num_layers=2, width=32, num_heads=4, num_kv_heads=2, ffn=48, context=24)


def model_with_gradients(seed: int = 0) -> Model:
    model = Model(CONFIG)
    init_weights(model, 0)
    set_gradients(model, seed)
    return model


def set_gradients(model: Model, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)


def test_adamw_equals_torchs_with_clipping_and_decay_on_hidden_matrices_only() -> None:
    ours, theirs = model_with_gradients(), model_with_gradients()
    optimizer = Optimizer(ours, OptimizerSettings(lr=0.01, clip=1.0))
    named = dict(theirs.named_parameters())
    decayed = [p for name, p in named.items() if name.startswith("blocks.") and p.ndim == 2]
    rest = [p for name, p in named.items() if not (name.startswith("blocks.") and p.ndim == 2)]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    for seed in range(3):
        set_gradients(ours, seed)
        set_gradients(theirs, seed)
        optimizer.step(0.5, optimizer.grad_norm(), torch.ones(()))
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        for group in reference.param_groups:
            group["lr"] = 0.005
        reference.step()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, named[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_skipped_step_changes_nothing_even_when_gradients_are_not_finite(name: str) -> None:
    model = model_with_gradients()
    optimizer = Optimizer(model, OptimizerSettings(name=name))  # type: ignore[arg-type]
    optimizer.step(1.0, optimizer.grad_norm(), torch.ones(()))
    before = {k: v.clone() for k, v in (model.state_dict() | optimizer.state).items()}
    set_gradients(model, 1)
    assert model.embed.weight.grad is not None
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad[..., 0] = torch.nan
    optimizer.step(1.0, optimizer.grad_norm(), torch.zeros(()))
    after = model.state_dict() | optimizer.state
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_newton_schulz_brings_singular_values_near_one() -> None:
    for shape in ((3, 20, 50), (2, 50, 20), (1, 16, 16)):
        values = torch.linalg.svdvals(
            orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        )
        assert values.max() < 1.3 and values.median() > 0.6


def test_muon_takes_queries_keys_and_values_apart_and_has_adamws_size() -> None:
    model = model_with_gradients()
    before = model.blocks[0].attention.qkv.weight.detach().clone()
    gradient = model.blocks[0].attention.qkv.weight.grad
    assert gradient is not None
    expected = torch.cat(
        [0.2 * math.sqrt(32) * orthogonalise(part[None])[0] for part in gradient.split([32, 16, 16])]
    )
    optimizer = Optimizer(model, OptimizerSettings(name="muon", lr=0.1, weight_decay=0.0, clip=0.0))
    optimizer.step(1.0, optimizer.grad_norm(), torch.ones(()))
    update = (before - model.blocks[0].attention.qkv.weight.detach()) / 0.1
    torch.testing.assert_close(update, expected, atol=1e-4, rtol=1e-3)
    assert 0.1 < float(update.square().mean().sqrt()) < 0.3


@pytest.mark.parametrize("experts", [0, 3])
def test_muon_holds_few_matrices_at_once_whatever_their_number(
    experts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve layers, one after the other or all together: the same updates, and a twelfth of the memory."""
    held: list[int] = []
    plain = muon.orthogonalise

    def counted(matrices: torch.Tensor) -> torch.Tensor:
        held.append(matrices.numel())
        return plain(matrices)

    monkeypatch.setattr(muon, "orthogonalise", counted)
    most, weights = [], []
    for at_once in (1 << 24, 1):
        monkeypatch.setattr(muon, "AT_ONCE", at_once)
        config = ModelConfig(
            vocab=64, num_layers=12, width=32, num_heads=2, ffn=48, context=16, num_experts=experts
        )
        model = Model(config)
        init_weights(model, 0)
        optimizer = Optimizer(model, OptimizerSettings(name="muon", lr=1e-2))
        draw = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draw)
        held.clear()
        optimizer.step(1.0, optimizer.grad_norm(), torch.tensor(1.0))
        most.append(max(held))
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert most == [12 * most[1], 2 * 48 * 32 * max(1, experts)]
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=1e-5)


def test_wsd_warms_up_stays_and_decays_by_the_root() -> None:
    settings = OptimizerSettings(warmup_fraction=0.1, decay_fraction=0.2)
    factors = [lr_factor(step, 100, settings) for step in range(100)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3]) and factors[9:81] == [1.0] * 72
    assert factors[85] == pytest.approx(1 - math.sqrt(5 / 20)) and 0 < factors[99] < 0.03


def test_cosine_ends_at_its_floor_and_constant_stays() -> None:
    cosine = OptimizerSettings(schedule="cosine", warmup_fraction=0.0)
    assert lr_factor(0, 100, cosine) == 1.0 and lr_factor(50, 100, cosine) == pytest.approx(0.55)
    assert lr_factor(99, 100, cosine) == pytest.approx(0.1, abs=1e-3)
    assert lr_factor(99, 100, OptimizerSettings(schedule="constant")) == 1.0


def test_warm_up_and_decay_may_be_given_in_steps_or_tokens() -> None:
    by_steps = OptimizerSettings(warmup_steps=10, decay_steps=20)
    by_tokens = OptimizerSettings(warmup_tokens=950, decay_tokens=2000)
    by_fraction = OptimizerSettings(warmup_fraction=0.1, decay_fraction=0.2)
    for step in range(100):
        expected = lr_factor(step, 100, by_fraction)
        assert lr_factor(step, 100, by_steps) == lr_factor(step, 100, by_tokens, step_tokens=100) == expected
    with pytest.raises(UsageError, match="warm-up takes 10 steps and the decay 20, the run has 25"):
        check_schedule(25, by_steps, 100)
    check_schedule(1, OptimizerSettings(), 100)


def test_a_branch_decays_from_the_rate_of_its_trunk_and_warms_up_from_there() -> None:
    decay = OptimizerSettings(schedule="decay")
    assert lr_factor(0, 10, decay, begin=0.5) == 0.5
    assert lr_factor(5, 10, decay, begin=0.5) == pytest.approx(0.5 * (1 - math.sqrt(0.5)))
    rising = OptimizerSettings(schedule="constant", warmup_steps=4)
    assert [lr_factor(step, 10, rising, begin=0.6) for step in range(5)] == pytest.approx(
        [0.7, 0.8, 0.9, 1, 1]
    )


def test_embeddings_are_decayed_where_asked() -> None:
    norms = []
    for decayed in (False, True):
        model = Model(ModelConfig(vocab=64, num_layers=1, width=32, num_heads=2, ffn=48, context=16))
        init_weights(model, 0)
        how = OptimizerSettings(lr=1.0, weight_decay=0.5, decay_embeddings=decayed)
        optimizer = Optimizer(model, how)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        before = [float(part.weight.detach().norm()) for part in (model.embed, model.norm)]
        optimizer.step(1.0, torch.tensor(1.0), torch.tensor(1.0))
        after = [float(part.weight.detach().norm()) for part in (model.embed, model.norm)]
        norms.append((after[0] / before[0], after[1] / before[1]))
    assert norms[0] == (1.0, 1.0) and norms[1] == (pytest.approx(0.5), 1.0)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"betas": [0.9, 1.0]}, "betas"),
        ({"betas": [1.5, 0.9]}, "betas"),
        ({"betas": [-0.1, 0.9]}, "betas"),
        ({"momentum": 1.0}, "momentum"),
        ({"lr": math.inf}, "optimizer.lr"),
        ({"lr": math.nan}, "optimizer.lr"),
        ({"warmup_fraction": 0.9, "decay_fraction": 0.2}, "more than the whole run"),
    ],
)
def test_impossible_settings_of_the_optimizer_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Settings.from_dict({"optimizer": values})


def test_a_section_given_a_name_says_what_may_be_meant() -> None:
    for how in ({"optimizer": "muon"}, {"model": "llama-15m"}):
        with pytest.raises(UsageError, match="must be a mapping") as caught:
            Settings.from_dict(how)
        assert "did you mean" in str(caught.value)
    with pytest.raises(UsageError, match="it is a section"):
        with_settings({}, ["optimizer=muon", "optimizer.lr=1e-3"])
    assert with_settings({}, ["schedule=decay", "steps=3"]) == {
        "optimizer": {"schedule": "decay"},
        "steps": 3,
    }


def test_a_spike_six_deviations_up_is_skipped() -> None:
    spikes = SpikeFilter(128, 6.0, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    noise = 1 + 0.1 * torch.randn(100, generator=draw)
    assert all(spikes.judge(2 + value, value) == 1 for value in noise)
    assert spikes.judge(torch.tensor(30.0), torch.tensor(1.0)) == 0  # loss
    assert spikes.judge(torch.tensor(3.0), torch.tensor(20.0)) == 0  # norm
    assert spikes.state["skipped"] == 2 and spikes.state["skipped_in_a_row"] == 2
    assert spikes.judge(torch.tensor(3.0), torch.tensor(1.0)) == 1 and spikes.state["skipped_in_a_row"] == 0
    assert spikes.judge(torch.tensor(0.1), torch.tensor(0.1)) == 1  # far below is no spike


@pytest.mark.parametrize("rise", [0.3, 3.0, 300.0])
def test_a_loss_that_rises_for_good_is_followed_as_olmo_core_follows_it(rise: float) -> None:
    draw = torch.Generator().manual_seed(0)
    losses = 3.0 + 0.02 * torch.randn(400, generator=draw)
    losses[200:] += rise
    norms = 1.0 + 0.01 * torch.randn(400, generator=draw)
    spikes = SpikeFilter(128, 6.0, torch.device("cpu"))
    taken = [float(spikes.judge(*pair)) for pair in zip(losses, norms, strict=True)]

    def olmo(values: torch.Tensor, at: int) -> bool:  # the last 128 values, whatever became of their steps
        window = values[max(0, at - 128) : at]
        return at < MIN_HISTORY or bool(values[at] - window.mean() <= 6 * window.std())

    assert taken == [float(olmo(losses, at) and olmo(norms, at)) for at in range(400)]
    assert sum(taken[200:]) >= 196


def test_a_spike_is_taken_before_there_is_a_history_and_a_nan_never() -> None:
    spikes = SpikeFilter(128, 6.0, torch.device("cpu"))
    for _ in range(MIN_HISTORY - 1):
        assert spikes.judge(torch.tensor(1.0), torch.tensor(1.0)) == 1
    assert spikes.judge(torch.tensor(99.0), torch.tensor(1.0)) == 1
    for bad in (torch.nan, torch.inf):
        assert spikes.judge(torch.tensor(1.0), torch.tensor(bad)) == 0
