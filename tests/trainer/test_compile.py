"""How often blocks are compiled: few graphs for any batches, and none broken. Graphs are counted, not run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from gristmill.trainer.config import LossSettings
from gristmill.trainer.model import attention, moe
from gristmill.trainer.model.attention import DocumentMasks, Mask
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.ranks.parallel import compile_blocks

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks at every tensor's

SLOW = pytest.mark.slow
CPU = torch.device("cpu")
SHAPE = ModelConfig(vocab=300, num_layers=3, width=32, num_heads=4, num_kv_heads=2, ffn=48, context=64)
WINDOWED = ModelConfig(
    "olmo3", vocab=300, num_layers=4, width=32, num_heads=4, ffn=48, context=64, window=16, full_every=2
)
EXPERTS = ModelConfig(vocab=300, num_layers=3, width=32, num_heads=4, ffn=48, context=64, num_experts=4)


class Compiled:
    """A model whose blocks are compiled by a backend that counts the graphs it is given."""

    def __init__(self, config: ModelConfig) -> None:
        self.graphs = 0
        self.model = Model(config)
        init_weights(self.model, 0)
        compile_blocks(self.model, backend=self._count)

    def _count(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward

    def step(self, positions: Tensor, mask: Mask, grad: bool = True) -> Tensor:
        tokens = torch.zeros_like(positions)
        with torch.set_grad_enabled(grad):
            if not grad:
                nats: Tensor = self.model(tokens, positions, tokens, mask=mask)[0]
                return nats
            total: Tensor = self.model(tokens, positions, tokens, mask=mask, loss=LossSettings()).total
            total.backward()
            return total.detach()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are tiny
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch.set_num_threads(threads)


def ragged(rows: int, draw: torch.Generator) -> Tensor:
    """Return positions (rows, 64) of documents of random lengths."""
    starts = torch.rand(rows, 64, generator=draw) < torch.rand((), generator=draw)
    starts[:, 0] = True
    place = torch.arange(64).expand(rows, 64)
    return place - torch.where(starts, place, 0).cummax(1).values


def packed_kernel(
    q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, same: Tensor, longest: int, also: int, **how: Any
) -> Tensor:
    """Stand in for the CUDA kernel, with its arguments and the shape of its result."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    return q + k + v + bounds.sum()


@pytest.mark.parametrize(
    ("config", "most"),
    [(SHAPE, 3), pytest.param(WINDOWED, 6, marks=SLOW), pytest.param(EXPERTS, 3, marks=SLOW)],
)
def test_two_hundred_ragged_batches_compile_a_block_three_times_per_window(
    config: ModelConfig, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for a full part, once for the last part of a step, once without gradients."""
    monkeypatch.setattr(attention, "_varlen", packed_kernel)
    compiled, draw = Compiled(config), torch.Generator().manual_seed(0)
    masks = DocumentMasks("varlen", CPU, config.windows)
    capacities = set()
    for number in range(200):
        positions = ragged(2 if number % 4 == 3 else 5, draw)
        mask = masks(positions)
        capacities.add(len(mask.bounds))  # type: ignore[union-attr]
        compiled.step(positions, mask, grad=number % 10 != 0)
    assert len(capacities) == 2 and compiled.graphs <= most


def test_documents_attended_one_by_one_do_not_compile_a_block_anew() -> None:
    compiled, draw = Compiled(SHAPE), torch.Generator().manual_seed(0)
    masks, counts = DocumentMasks("sdpa", CPU), []
    for _ in range(12):
        positions = ragged(2, draw)
        compiled.step(positions, masks(positions))
        counts.append(compiled.graphs)
    assert counts[0] == counts[-1]


def test_experts_break_no_graph() -> None:
    """Every block is one graph, the auxiliary loss and the products of experts in it."""
    positions = torch.arange(64).expand(2, 64)
    plain = Model(EXPERTS)
    init_weights(plain, 0)
    compiled = Compiled(EXPERTS)
    for block in compiled.model.blocks:
        block.compile(fullgraph=True, backend="aot_eager")
    totals = []
    for model in (plain, compiled.model):
        total = model(positions, positions, positions, loss=LossSettings()).total
        total.backward()
        totals.append(total.detach())
    assert torch.equal(*totals)
    for name, parameter in plain.named_parameters():
        other = compiled.model.get_parameter(name)
        assert parameter.grad is not None and other.grad is not None
        torch.testing.assert_close(other.grad, parameter.grad, msg=name)


def test_the_product_of_experts_is_differentiated_as_the_loop_is() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(7, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 5, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    counts = torch.tensor([4, 0, 3])
    assert torch.autograd.gradcheck(lambda a, b: moe.grouped(a, b, counts), (x, w))
