"""The chunked loss equals closed forms and autograd, and never holds the full logits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gristmill.trainer.config import LossSettings
from gristmill.trainer.data.batch import IGNORED
from gristmill.trainer.model import loss as module
from gristmill.trainer.model.loss import chunked_loss, token_losses

V, PADDED, D, N = 37, 64, 16, 50


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=draw, dtype=dtype).requires_grad_()
    weight = torch.randn(PADDED, D, generator=draw, dtype=dtype).requires_grad_()
    targets = torch.randint(0, V, (N,), generator=draw)
    targets[::7] = IGNORED
    return hidden, weight, targets


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, s: LossSettings, softcap: float = 0.0) -> Tensor:
    """The same loss by autograd over the full logits."""
    valid = targets != IGNORED
    z = (hidden @ weight[:V].t())[valid]
    z = softcap * torch.tanh(z / softcap) if softcap else z
    nll = F.cross_entropy(z, targets[valid], reduction="sum", label_smoothing=s.smoothing)
    p = z.softmax(-1)
    entropy = -(p * p.log()).sum()
    return nll + s.z * z.logsumexp(-1).square().sum() - s.entropy * entropy


@pytest.mark.parametrize(
    "settings",
    [
        LossSettings(),
        LossSettings(z=0.01),
        LossSettings(smoothing=0.1),
        LossSettings(entropy=0.05),
        LossSettings(z=0.02, smoothing=0.2, entropy=0.1),
    ],
)
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_loss_and_both_gradients_equal_autograd_over_full_logits(
    settings: LossSettings, softcap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", {"cpu": 7 * PADDED})
    hidden, weight, targets = inputs(torch.float32)
    expected = plain(hidden.double(), weight.double(), targets, settings, softcap) / 13
    d_hidden, d_weight = torch.autograd.grad(expected, (hidden, weight))
    loss = chunked_loss(hidden, weight, targets, V, 1 / 13, settings, softcap=softcap)
    loss.total.backward()
    torch.testing.assert_close(loss.total.double(), expected, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(hidden.grad, d_hidden.float(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weight.grad, d_weight.float(), atol=1e-6, rtol=1e-5)
    assert float(loss.nll) == pytest.approx(
        float(plain(hidden, weight, targets, LossSettings(), softcap).detach()), rel=1e-6
    )
    assert not weight.grad[V:].any()


def test_uniform_logits_have_the_closed_form() -> None:
    hidden, weight, targets = torch.zeros(3, D), torch.zeros(PADDED, D), torch.tensor([0, 5, IGNORED])
    settings = LossSettings(z=0.1, smoothing=0.3, entropy=0.2)
    total = chunked_loss(hidden, weight, targets, V, 1.0, settings).total
    log_v = math.log(V)
    assert float(total) == pytest.approx(2 * (log_v + 0.1 * log_v**2 - 0.2 * log_v), rel=1e-6)


def test_smoothing_equals_the_mixture_of_target_and_uniform() -> None:
    hidden, weight, targets = inputs(torch.float32)
    logp = (hidden @ weight[:V].t()).log_softmax(-1)[targets != IGNORED]
    q = torch.full_like(logp, 0.1 / V)
    q[torch.arange(len(q)), targets[targets != IGNORED]] += 0.9
    total = chunked_loss(hidden, weight, targets, V, 1.0, LossSettings(smoothing=0.1)).total
    assert float(total.detach()) == pytest.approx(float(-(q * logp).sum().detach()), rel=1e-6)


def test_per_token_losses_are_nats_and_entropies() -> None:
    hidden, weight, targets = inputs(torch.float32)
    nll, entropy, likeliest = token_losses(hidden, weight, targets, V)
    logp = (hidden @ weight[:V].t()).log_softmax(-1).detach()
    expected = F.nll_loss(logp, targets, ignore_index=IGNORED, reduction="none")
    torch.testing.assert_close(nll, expected)
    torch.testing.assert_close(entropy[1], -(logp.exp() * logp).sum(-1)[1])
    assert entropy[0] == 0 and torch.equal(likeliest, logp.argmax(-1) == targets)


def test_extreme_logits_stay_finite() -> None:
    hidden = torch.full((2, D), 1e3).requires_grad_()
    weight = torch.randn(PADDED, D, generator=torch.Generator().manual_seed(0))
    loss = chunked_loss(hidden, weight, torch.tensor([0, 1]), V, 1.0, LossSettings())
    loss.total.backward()
    assert torch.isfinite(loss.total) and hidden.grad is not None and torch.isfinite(hidden.grad).all()
    exact = F.cross_entropy(hidden.double() @ weight[:V].double().t(), torch.tensor([0, 1]), reduction="sum")
    assert float(loss.total.detach()) == pytest.approx(float(exact.detach()), rel=1e-5)


def test_memory_of_the_logits_is_flat_in_vocabulary_size() -> None:
    def logits_bytes(vocab: int) -> int:
        return module.chunk_rows(100_000, torch.empty(vocab, 1, device="cpu")) * vocab * 4

    assert max(map(logits_bytes, (8_192, 65_536, 262_144))) <= 4 * module.CHUNK_ELEMENTS["cpu"]
    assert logits_bytes(262_144) <= 1.01 * logits_bytes(8_192)
