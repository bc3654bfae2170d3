"""Model: parameter counts, masks, mixture of experts, caches, 8-bit products."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gristmill.errors import UsageError
from gristmill.trainer.config import LossSettings
from gristmill.trainer.model import float8, moe
from gristmill.trainer.model.architectures.table import ARCHITECTURES
from gristmill.trainer.model.attention import DocumentMasks
from gristmill.trainer.model.decoder import Model, flops_per_token, num_parameters
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.layers import Linear
from gristmill.trainer.model.presets import PRESETS, preset
from gristmill.trainer.model.rope import rotate
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.ranks import devices

TINY = ModelConfig(vocab=50, num_layers=2, width=32, num_heads=4, num_kv_heads=2, ffn=48, context=24)
DRAW = torch.Generator().manual_seed(0)


def tiny(config: ModelConfig = TINY) -> Model:
    model = Model(config)
    init_weights(model, 0)
    return model


@pytest.mark.parametrize(
    ("name", "vocab", "parameters"),
    [
        ("gpt2-124m", 50257, 124_439_808),
        ("llama-15m", 8192, 13_767_552),
        ("llama-60m", 32768, 58_337_920),
        ("llama-124m", 32768, 110_119_680),
        ("llama-350m", 32768, 341_885_952),
        ("llama-1b", 128256, 1_235_814_400),  # Llama 3.2 1B
        ("llama-8b", 128256, 8_030_261_248),
        ("llama-70b", 128256, 70_553_706_496),
        ("llama-405b", 128256, 405_853_388_800),
        ("mixtral-8x7b", 32000, 46_702_792_704),
        ("smollm2-135m", 49152, 134_515_008),
        ("smollm2-360m", 49152, 361_821_120),
        ("smollm2-1.7b", 49152, 1_711_376_384),
        ("smollm3-3b", 128256, 3_075_098_624),
        ("qwen3-0.6b", 151936, 596_049_920),
        ("qwen3-1.7b", 151936, 1_720_574_976),
        ("qwen3-4b", 151936, 4_022_468_096),
        ("olmo2-1b", 100352, 1_484_916_736),
        ("olmo2-7b", 100352, 7_298_617_344),
    ],
)
def test_a_preset_has_its_number_of_parameters(name: str, vocab: int, parameters: int) -> None:
    with torch.device("meta"):
        model = Model(preset(name, vocab=vocab))
    assert num_parameters(model) == parameters


def test_every_preset_is_counted() -> None:
    counted = test_a_preset_has_its_number_of_parameters.pytestmark[0].args[1]
    assert {row[0] for row in counted} == set(PRESETS)


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="llama-15b") as caught:
        preset("llama-15b")
    assert "did you mean llama-1" in str(caught.value)


def test_flops_per_token_are_palms_formula() -> None:
    model = tiny(dataclasses.replace(TINY, tied=False))
    n = num_parameters(model) - 50 * 32
    assert flops_per_token(model) == 6 * n + 12 * 2 * 32 * 24


def test_weights_do_not_depend_on_the_order_or_sharding_of_other_weights() -> None:
    small, large = tiny(), tiny(dataclasses.replace(TINY, num_layers=3))
    same = small.state_dict()["embed.weight"], large.state_dict()["embed.weight"]
    assert torch.equal(*same)


def test_documents_of_one_row_are_scored_as_if_alone() -> None:
    model = tiny()
    a, b = torch.randint(0, 50, (1, 9), generator=DRAW), torch.randint(0, 50, (1, 14), generator=DRAW)
    positions = torch.cat([torch.arange(9), torch.arange(14)])[None]
    together = model(
        torch.cat([a, b], 1), positions, mask=DocumentMasks("sdpa", torch.device("cpu"))(positions)
    )
    torch.testing.assert_close(together, torch.cat([model(a), model(b)], 1), atol=1e-5, rtol=1e-5)


def test_a_rotation_in_sixteen_bits_is_rounded_once_wherever_it_lies() -> None:
    config = ModelConfig(vocab=64, num_layers=1, width=128, num_heads=1, ffn=8, context=8192)
    model = Model(config)
    model.dtype = torch.bfloat16
    positions = torch.tensor([[0, 7, 1000, 1007, 8000, 8007]])
    (rotary,) = model.rotary(positions)
    assert rotary is not None
    x = torch.randn(1, 6, 1, 128, generator=torch.Generator().manual_seed(0))
    exact = rotate(x.bfloat16().float(), *rotary)
    assert torch.equal(rotate(x.bfloat16(), *rotary), exact.bfloat16())
    angles = positions.double()[..., None, None] * 10000.0 ** (-torch.arange(0, 128, 2).double() / 128)
    torch.testing.assert_close(rotary[0].double(), angles.cos(), atol=1e-3, rtol=0)


def test_recomputed_activations_give_the_same_gradients() -> None:
    tokens = torch.randint(0, 50, (2, 24), generator=DRAW)
    grads = []
    for recompute in ("none", "full", "selective"):
        model = tiny()
        model.recompute = recompute
        for block in model.blocks:
            block.selective = recompute == "selective"
        model(tokens, None, tokens, scale=1.0, loss=LossSettings()).total.backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.equal(grads[0], grads[1]) and torch.equal(grads[0], grads[2])


def test_balanced_routing_has_a_balance_loss_of_one_and_collapse_the_number_of_experts() -> None:
    even = torch.full((6, 4), 0.25)
    assert float(moe.balance_loss(even, torch.tensor([3.0, 3, 3, 3]))) == pytest.approx(1.0)
    collapsed = torch.tensor([[1.0, 0, 0, 0]]).repeat(6, 1)
    assert float(moe.balance_loss(collapsed, torch.tensor([6.0, 0, 0, 0]))) == pytest.approx(4.0)


def test_the_router_z_loss_is_the_mean_square_of_logsumexp() -> None:
    assert float(moe.router_z_loss(torch.zeros(5, 8))) == pytest.approx(
        torch.tensor(8.0).log().square().item()
    )


def test_experts_equal_a_loop_over_tokens() -> None:
    config = dataclasses.replace(TINY, num_experts=4, experts_per_token=2)
    layer = tiny(config).blocks[0].ffn
    x = torch.randn(3, 5, 32, generator=DRAW)
    expected = torch.zeros(15, 32)
    for n, token in enumerate(x.flatten(0, 1)):
        probabilities = (layer.router.weight @ token).softmax(-1)
        best, chosen = probabilities.topk(2)
        for gate, e in zip(best / best.sum(), chosen, strict=True):
            g, u = (layer.up[e] @ token).chunk(2)
            expected[n] += gate * (layer.down[e] @ (F.silu(g) * u))
    torch.testing.assert_close(layer(x)[0].flatten(0, 1), expected, atol=1e-6, rtol=1e-5)


def routed(
    model: Model,
    tokens: torch.Tensor,
    targets: torch.Tensor,
    positions: torch.Tensor | None = None,
    **how: Any,
) -> torch.Tensor:
    """Return the loss of a batch, scaled by its targets unless told otherwise."""
    masks = DocumentMasks("sdpa", torch.device("cpu"))
    mask = None if positions is None else masks(positions)
    how = {"scale": 1 / int((targets >= 0).sum())} | how
    total: torch.Tensor = model(tokens, positions, targets, mask=mask, loss=LossSettings(), **how).total
    return total


EXPERTS = dataclasses.replace(TINY, num_experts=4, balance_weight=0.1, router_z_weight=0.01)


def test_a_mixture_of_experts_adds_its_auxiliary_losses_once() -> None:
    tokens = torch.randint(0, 50, (2, 24), generator=DRAW)
    weighted = tiny(EXPERTS)
    plain = tiny(dataclasses.replace(EXPERTS, balance_weight=0.0, router_z_weight=0.0))
    seen: list[torch.Tensor] = []
    for block in weighted.blocks:
        block.ffn.router.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    added = routed(weighted, tokens, tokens) - routed(plain, tokens, tokens)
    expected = []
    for logits in seen:
        counts = logits.topk(2).indices.flatten().bincount(minlength=4)
        balance = moe.balance_loss(logits.softmax(-1), counts.float())
        expected.append(0.1 * balance + 0.01 * moe.router_z_loss(logits))
    torch.testing.assert_close(added, torch.stack(expected).mean(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("micro", [1, 2, 4])
def test_the_gradient_of_experts_is_that_of_the_whole_batch_for_any_parts(micro: int) -> None:
    tokens = torch.randint(0, 50, (8, 24), generator=DRAW)
    targets = tokens.clone()
    targets[3, 5:] = targets[6, 2:] = -100  # parts hold unlike numbers of targets
    scale = 1 / int((targets >= 0).sum())
    gradients = []
    for rows in (8, micro):
        model = tiny(EXPERTS)
        parts = [slice(start, start + rows) for start in range(0, 8, rows)]
        with torch.no_grad():
            copies = sum(model(tokens[p], None, targets[p], count_copies=True) for p in parts)
        expert_shares = None if rows == 8 else moe.shares(copies)
        for p in parts:
            routed(model, tokens[p], targets[p], scale=scale, expert_shares=expert_shares).backward()
        gradients.append({name: q.grad for name, q in model.named_parameters()})
    for name, whole in gradients[0].items():
        assert float((gradients[1][name] - whole).norm() / whole.norm()) < 1e-5, name


def test_padding_takes_no_part_in_what_the_router_is_told() -> None:
    model = tiny(EXPERTS)
    with torch.no_grad():
        for block in model.blocks:
            block.ffn.router.weight.mul_(30)
    tokens = torch.zeros(4, 24, dtype=torch.int64)
    tokens[:, :8] = torch.randint(1, 50, (4, 8), generator=DRAW)
    targets = tokens.clone()
    targets[:, 8:] = -100
    positions = torch.arange(24).repeat(4, 1)
    positions[:, 8:] = torch.arange(16)
    short = tuple(part[:, :8].contiguous() for part in (tokens, targets, positions))
    torch.testing.assert_close(routed(model, tokens, targets, positions), routed(model, *short))


def test_the_grouped_product_kernel_equals_the_loop() -> None:
    if moe._grouped_mm is None:
        pytest.skip("this torch has no grouped product")
    x, w = torch.randn(24, 32, generator=DRAW).bfloat16(), torch.randn(3, 16, 32, generator=DRAW).bfloat16()
    counts = torch.tensor([10, 0, 14])
    kernel = moe._grouped_mm(x, w.mT, offs=counts.cumsum(0).to(torch.int32))
    torch.testing.assert_close(kernel, moe.grouped(x, w, counts), atol=0.1, rtol=0.05)


@pytest.mark.parametrize("by_row", [False, True])
def test_eight_bit_products_are_close_to_exact_ones(by_row: bool) -> None:
    x = torch.randn(64, 256, generator=DRAW).bfloat16().requires_grad_()
    exact, eight = Linear(256, 128, bias=False), Linear(256, 128, bias=False)
    eight.load_state_dict(exact.state_dict())
    eight.__class__ = float8.Float8Linear
    eight.by_row = by_row
    results = []
    for layer in (exact, eight):
        x.grad = None
        out = layer(x)
        out.backward(torch.randn(64, 128, generator=torch.Generator().manual_seed(5)).bfloat16())
        assert x.grad is not None and layer.weight.grad is not None
        results.append((out.detach().float(), x.grad.float(), layer.weight.grad.float()))
    for a, b in zip(*results, strict=True):
        assert float((a - b).norm() / a.norm()) < 0.06


def test_eight_bits_are_refused_beside_fp32_and_skip_narrow_maps() -> None:
    model = tiny(dataclasses.replace(TINY, width=128, ffn=256))
    with pytest.raises(UsageError, match="fp32"):
        float8.use_float8(model, torch.device("cpu"))
    model.dtype = torch.bfloat16
    assert float8.use_float8(model, torch.device("cpu")) == 8
    narrow = tiny()
    narrow.dtype = torch.bfloat16
    assert float8.use_float8(narrow, torch.device("cpu")) == 0


@pytest.mark.parametrize("by_row", [False, True])
def test_eight_bits_keep_nothing_of_a_weight_but_itself(by_row: bool) -> None:
    """Under FSDP a copy of it would be the whole of each layer's weights, on every rank."""
    layer = Linear(256, 128, bias=False)
    layer.__class__ = float8.Float8Linear
    layer.by_row = by_row
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    x = torch.randn(64, 256, generator=DRAW).bfloat16().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    beside = [t.nbytes for t in kept if t.data_ptr() not in (layer.weight.data_ptr(), x.data_ptr())]
    assert sum(beside) <= 64 * 256 + 4 * 64  # the input in 8 bits, or nothing; and scales


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA L4", 121), ("NVIDIA L40", 181),
        ("NVIDIA L40S", 362), ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA RTX A6000", 155), ("NVIDIA H20", 148),
        ("NVIDIA RTX 6000 Ada Generation", 364), ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3090", 71), ("Tesla T4", None), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GH200 480GB", 989), ("NVIDIA H100 NVL", 835), ("NVIDIA RTX PRO 6000 Blackwell", None),
    ],
)  # fmt: skip
def test_a_card_has_its_own_peak_or_none(name: str, tflops: float | None) -> None:
    assert devices.peak_flops(name) == (None if tflops is None else tflops * 1e12)


def test_cards_that_emulate_bf16_compute_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    for capability, kind in (((7, 0), torch.float32), ((7, 5), torch.float32), ((8, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert devices.compute_dtype("auto", cuda) == kind


def test_a_cpu_computes_in_bf16_where_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, fast, slow = torch.device("cpu"), torch.bfloat16, torch.float32
    for amx, avx512, vendor, kind in (
        (True, True, "GenuineIntel", fast),
        (False, True, "GenuineIntel", slow),  # half the speed of fp32
        (False, True, "AuthenticAMD", fast),
        (False, True, None, fast),
        (False, False, "AuthenticAMD", slow),
    ):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda found=amx: found)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=avx512: found)
        monkeypatch.setattr(devices, "_vendor", lambda found=vendor: found)
        assert devices.compute_dtype("auto", cpu) == kind


def test_every_architecture_and_preset_is_on_the_trainers_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "trainer.md").read_text()
    section = page[page.index("## Architectures") : page.index("## Width")]
    for kind in ARCHITECTURES:
        assert re.search(rf"\b{kind}\b", section), kind
    for name in PRESETS:
        assert name in page or f"-{name.split('-', 1)[1]}" in page, name
