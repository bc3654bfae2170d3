"""muP: what works at one width works at another; averages of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import UsageError
from gristmill.trainer.config import LossSettings, OptimizerSettings, Settings
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import deviation, init_weights
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.average import average
from gristmill.trainer.optimize.optimizer import Optimizer
from gristmill.trainer.train import run

Corpus = Callable[..., Path]

BASE = 32


def movement(width: int, base: int, steps: int = 4) -> float:
    """Return how far a few steps move the logits, root mean square."""
    config = ModelConfig(
        vocab=64, num_layers=2, width=width, num_heads=width // 16, ffn=2 * width, context=16, tied=False
    )
    model = Model(config)
    init_weights(model, 0, base)
    optimizer = Optimizer(model, OptimizerSettings(lr=1e-2, mup_base_width=base))
    tokens = torch.randint(0, 64, (8, 17), generator=torch.Generator().manual_seed(1))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    with torch.no_grad():
        before = model(inputs)
    for _ in range(steps):
        model(inputs, None, targets, scale=1 / 128, loss=LossSettings()).total.backward()
        optimizer.step(1.0, optimizer.grad_norm(), torch.ones(()))
    with torch.no_grad():
        return float((model(inputs) - before).square().mean().sqrt())


def test_a_step_moves_the_logits_as_far_at_any_width() -> None:
    """The coordinate check of Yang et al. 2022: eight times the width, the same movement; without muP more
    with each doubling."""
    scaled = [movement(width, BASE) for width in (BASE, 2 * BASE, 4 * BASE, 8 * BASE)]
    plain = [movement(width, 0) for width in (BASE, 2 * BASE, 4 * BASE, 8 * BASE)]
    assert max(scaled) / min(scaled) < 1.5, scaled
    assert plain[-1] / plain[0] > 2 and plain == sorted(plain), plain


def test_at_the_base_width_nothing_changes() -> None:
    assert movement(BASE, BASE) == movement(BASE, 0)


def test_the_head_is_drawn_as_one_over_the_width_and_hidden_matrices_as_its_root() -> None:
    model = Model(ModelConfig(vocab=64, num_layers=2, width=128, num_heads=4, ffn=64, tied=False))
    assert deviation("head.weight", model, 32) == pytest.approx(0.02 / 4)
    assert deviation("blocks.0.attention.qkv.weight", model, 32) == pytest.approx(0.02 / 2)
    assert deviation("embed.weight", model, 32) == 0.02


def test_a_tied_head_and_muon_have_no_mup() -> None:
    with pytest.raises(UsageError, match="head of its own"):
        Settings.from_dict({"optimizer": {"mup_base_width": 64}})


@pytest.fixture
def trained(corpus: Corpus, tmp_path: Path) -> dict[str, Any]:
    shape = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
    how = {"shards": str(corpus()), "run": str(tmp_path / "a"), "model": shape, "device": "cpu"}
    how |= {"dtype": "fp32", "batch": 4, "steps": 6, "save_every": 2, "threads": 1}
    settings = how | {"optimizer": {"ema_decay": 0.5}}
    run(settings)
    return settings


def weights(checkpoint: Path) -> torch.Tensor:
    return load_model(checkpoint, "cpu")[0].embed.weight.detach().double()


def test_the_last_checkpoints_are_averaged_to_one(trained: dict[str, Any], tmp_path: Path) -> None:
    folders = sorted((tmp_path / "a" / "checkpoints").glob("step-*"))[-3:]
    assert [folder.name[-1] for folder in folders] == ["2", "4", "6"]
    mean = torch.stack([weights(folder) for folder in folders]).mean(0)
    average(tmp_path / "a", tmp_path / "mean", last=3)
    torch.testing.assert_close(weights(tmp_path / "mean"), mean, atol=1e-7, rtol=0)
    with pytest.raises(UsageError, match="9 were asked for"):
        average(tmp_path / "a", tmp_path / "none", last=9)


def test_the_exponential_average_is_of_the_weights_after_each_step_also_over_a_resume(
    trained: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    average(tmp_path / "a", tmp_path / "mean")
    each = trained | {"run": str(tmp_path / "b"), "save_every": 1}
    run(each)
    folders = sorted((tmp_path / "b" / "checkpoints").glob("step-*"))
    parts = [weights(folder) * 0.5 ** (len(folders) - i) for i, folder in enumerate(folders)]
    expected = torch.stack(parts).sum(0) / (1 - 0.5 ** len(folders))
    assert len(folders) == 6
    torch.testing.assert_close(weights(tmp_path / "mean"), expected, atol=1e-7, rtol=0)
    (tmp_path / "b" / "checkpoints" / "latest").write_text("step-00000003")
    run(each)
    average(tmp_path / "b", tmp_path / "again")
    torch.testing.assert_close(weights(tmp_path / "again"), expected, atol=1e-7, rtol=0)


def test_an_average_begins_anew_goes_on_or_ends_when_its_decay_changes(
    trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trained | {"run": str(tmp_path / "c"), "steps": 2, "save_every": 1, "optimizer": {}}
    run(first)
    changed = {"steps": 4, "optimizer": {"ema_decay": 0.5}}
    run(first | changed)
    assert "begins anew with what follows step 2" in capsys.readouterr().err
    average(tmp_path / "c", tmp_path / "mean")
    third, fourth = (weights(tmp_path / "c" / "checkpoints" / f"step-0000000{step}") for step in (3, 4))
    torch.testing.assert_close(weights(tmp_path / "mean"), (third + 2 * fourth) / 3, atol=1e-7, rtol=0)
    run(first | {"steps": 5, "optimizer": {"ema_decay": 0.9}})
    assert "goes on from the one at step 4, with decay 0.9" in capsys.readouterr().err
    run(first | {"steps": 6})
    assert "no average of weights is kept from here on" in capsys.readouterr().err
    with pytest.raises(UsageError, match="keeps no exponential average"):
        average(tmp_path / "c", tmp_path / "none")
    branch = {"shards": trained["shards"], "run": str(tmp_path / "d"), "branch": str(tmp_path / "c")}
    run(branch | {"steps": 1, "optimizer": {"ema_decay": 0.5}})
