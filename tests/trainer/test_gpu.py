"""What only a CUDA device can show: run with `pytest -m gpu`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.trainer.config import LossSettings
from gristmill.trainer.model import moe
from gristmill.trainer.model.attention import DocumentMasks, attend, document_kernel
from gristmill.trainer.model.loss import chunked_loss
from gristmill.trainer.train import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]

Corpus = Callable[..., Path]

SHAPE = {"num_layers": 2, "width": 256, "num_heads": 4, "num_kv_heads": 2, "ffn": 512, "context": 128}


def losses(shards: Path, run_folder: Path, **how: Any) -> list[float]:
    base = {
        "shards": str(shards),
        "run": str(run_folder),
        "model": SHAPE,
        "batch": 8,
        "steps": 10,
        "log_every": 1,
    }
    run(base | how)
    rows = map(json.loads, (run_folder / "log.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if row["event"] == "step"]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compile": "off"},
        {"attention": "flex"},
        {"attention": "sdpa"},
        {"data": {"document_mask": False}},
        {"checkpointing": True},
        {"optimizer": {"name": "muon"}},
        {"micro_batch": 2},
        {"model": SHAPE | {"num_experts": 4}},
    ],
)
def test_a_gpu_in_bf16_follows_the_cpus_curve(how: dict[str, Any], corpus: Corpus, tmp_path: Path) -> None:
    mix = corpus()
    expected = losses(
        mix, tmp_path / "cpu", device="cpu", dtype="fp32", **{k: v for k, v in how.items() if k != "compile"}
    )
    assert losses(mix, tmp_path / "gpu", device="cuda", **how) == pytest.approx(expected, abs=0.05)


def test_eight_bits_follow_the_curve_of_sixteen(corpus: Corpus, tmp_path: Path) -> None:
    if torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no 8-bit matrix units")
    mix = corpus()
    assert losses(mix, tmp_path / "8", float8=True) == pytest.approx(losses(mix, tmp_path / "16"), abs=0.1)


@pytest.mark.parametrize("kernel", ["varlen", "flex"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_each_kernel_equals_attention_per_document_with_its_gradients(kernel: str, kv_heads: int) -> None:
    cuda = torch.device("cuda")
    kernel = document_kernel(kernel, cuda, torch.bfloat16, 64)
    positions = torch.stack([torch.cat([torch.arange(100), torch.arange(156)]), torch.arange(256)])
    draw = torch.Generator().manual_seed(0)
    values = [torch.randn(2, 256, heads, 64, generator=draw).bfloat16() for heads in (4, kv_heads, kv_heads)]
    found = []
    for masks, device in (
        (DocumentMasks(kernel, cuda), "cuda"),
        (DocumentMasks("sdpa", torch.device("cpu")), "cpu"),
    ):
        q, k, v = (value.to(device).requires_grad_() for value in values)
        out = attend(q, k, v, masks(positions))
        out.square().sum().backward()
        found.append(
            [tensor.detach().float().cpu() for tensor in (out, q.grad, k.grad, v.grad) if tensor is not None]
        )
    for ours, expected in zip(*found, strict=True):
        assert float((ours - expected).norm() / expected.norm()) < 0.02


def test_the_grouped_product_equals_the_loop_on_the_gpu() -> None:
    x = torch.randn(96, 64, device="cuda", dtype=torch.bfloat16)
    w = torch.randn(3, 32, 64, device="cuda", dtype=torch.bfloat16)
    counts = torch.tensor([40, 0, 56], device="cuda")
    torch.testing.assert_close(
        moe.grouped(x, w, counts).cpu(), moe.grouped(x.cpu(), w.cpu(), counts.cpu()), atol=0.2, rtol=0.05
    )


def test_memory_of_the_loss_does_not_grow_with_the_vocabulary() -> None:
    peaks = []
    for vocab in (32_768, 262_144):
        hidden = torch.randn(16_384, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        weight = torch.randn(vocab, 64, device="cuda", requires_grad=True)
        targets = torch.randint(0, vocab, (16_384,), device="cuda")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        chunked_loss(hidden, weight, targets, vocab, 1.0, LossSettings()).total.backward()
        peaks.append(torch.cuda.max_memory_allocated() - before - 2 * weight.nbytes)
    assert peaks[1] < 1.2 * peaks[0]


def test_a_run_on_a_gpu_is_resumed_and_saved_in_the_background(corpus: Corpus, tmp_path: Path) -> None:
    mix = corpus()
    straight = losses(mix, tmp_path / "a", save_every=4)
    (tmp_path / "a" / "checkpoints" / "latest").write_text("step-00000004")
    assert losses(mix, tmp_path / "a", save_every=4) == pytest.approx(straight, abs=1e-3)
