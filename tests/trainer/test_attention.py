"""Masks from positions: where documents begin, what each kernel is told, and that all see the same keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gristmill.errors import UsageError
from gristmill.trainer.model import attention
from gristmill.trainer.model.attention import (
    Blocks,
    DocumentMasks,
    PackedBatch,
    Scores,
    Segments,
    attend,
    block_mask,
    document_kernel,
)

CPU = torch.device("cpu")
DRAW = torch.Generator().manual_seed(0)
POSITIONS = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 0, 1], list(range(12))])


def dense_mask(positions: Tensor) -> Tensor:
    """Return (rows, T, T), True where query row sees key column."""
    place = torch.arange(positions.shape[1])
    return (place[None, :] <= place[:, None]) & (place[None, :] >= place[:, None] - positions[:, :, None])


def heads(kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    q = torch.randn(2, 12, 4, 8, generator=DRAW)
    k, v = (torch.randn(2, 12, kv_heads, 8, generator=DRAW) for _ in range(2))
    return q, k, v


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_a_document_attends_to_itself_only(kv_heads: int) -> None:
    q, k, v = heads(kv_heads)
    expected = attend(q, k, v, dense_mask(POSITIONS)[:, None])
    mask = DocumentMasks("sdpa", CPU)(POSITIONS)
    assert mask == Segments([3, 7, 2, 12])
    torch.testing.assert_close(attend(q, k, v, mask), expected)
    torch.testing.assert_close(
        attend(q, k, v, Blocks({0: block_mask(POSITIONS)})), expected, atol=1e-5, rtol=1e-5
    )


def test_flex_skips_exactly_the_blocks_no_query_of_which_sees_a_key() -> None:
    lengths = [[130, 126, 256], [500, 12], [64] * 8]
    positions = torch.stack([torch.cat([torch.arange(length) for length in row]) for row in lengths])
    blocks = block_mask(positions)
    size = blocks.BLOCK_SIZE[0]
    seen = dense_mask(positions).unflatten(2, (-1, size)).unflatten(1, (-1, size))
    assert torch.equal(blocks.to_dense()[:, 0].bool(), seen.any(4).any(2))


def test_documents_are_packed_with_their_bounds_and_padded_to_few_sizes_that_never_shrink() -> None:
    masks = DocumentMasks("varlen", CPU)
    mask = masks(POSITIONS)
    assert isinstance(mask, PackedBatch) and mask.bounds.dtype == torch.int32
    assert mask.bounds.tolist() == [0, 3, 10, 12, *[24] * 60] and mask.longest == 12
    assert len(masks(torch.zeros(20, 12, dtype=torch.int64)).bounds) == 256
    assert masks(torch.arange(12).expand(2, 12)).bounds.tolist() == [0, 12, *[24] * 254]


@pytest.mark.parametrize("scores", [Scores(), Scores(window=3), Scores(0.2, 1.5), Scores(0.2, 1.5, 3)])
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_windows_and_soft_caps_hold_inside_documents_for_every_kernel(scores: Scores) -> None:
    q, k, v = heads(2)
    place = torch.arange(12)
    seen = dense_mask(POSITIONS) & (place[:, None] - place < (scores.window or 12))
    products = torch.einsum("bthd,bshd->bhts", q, k.repeat_interleave(2, 2)) * (scores.scale or 8**-0.5)
    capped = scores.softcap * (products / scores.softcap).tanh() if scores.softcap else products
    weights = capped.masked_fill(~seen[:, None], -torch.inf).softmax(-1)
    expected = torch.einsum("bhts,bshd->bthd", weights, v.repeat_interleave(2, 2))
    masks = (
        DocumentMasks("sdpa", CPU)(POSITIONS),
        Blocks({scores.window: block_mask(POSITIONS, scores.window)}),
        dense_mask(POSITIONS)[:, None],
    )
    for mask in masks:
        torch.testing.assert_close(attend(q, k, v, mask, scores), expected, atol=1e-5, rtol=1e-5)


def test_a_soft_cap_is_never_left_to_the_packed_kernel() -> None:
    with pytest.raises(UsageError, match="varlen cannot run here"):
        document_kernel("varlen", CPU, torch.bfloat16, 64, softcap=True)


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_the_packed_call_says_what_the_mask_means(
    kv_heads: int, groups: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def varlen(
        q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, same: Tensor, longest: int, also: int, **how: Any
    ) -> Tensor:
        """What `torch.nn.attention.varlen.varlen_attn` documents, sequence by sequence."""
        back, ahead = how.pop("window_size")
        assert ahead == 0 and how.pop("scale", None) is None and bounds is same and longest == also
        assert how == ({"enable_gqa": True} if q.shape[1] != k.shape[1] else {}) and (groups or not how)
        out = torch.full_like(q, torch.nan)
        for start, stop in bounds.unfold(0, 2, 1).tolist():
            assert stop - start <= longest
            parts = (x[start:stop].transpose(0, 1) for x in (q, k, v))
            place = torch.arange(stop - start)
            near = (place <= place[:, None]) & ((place[:, None] - place <= back) | (back < 0))
            out[start:stop] = F.scaled_dot_product_attention(
                *parts, attn_mask=near, enable_gqa=bool(how)
            ).transpose(0, 1)
        return out

    monkeypatch.setattr(attention, "_varlen", varlen)
    monkeypatch.setattr(attention, "_varlen_groups", groups)
    q, k, v = heads(kv_heads)
    mask = DocumentMasks("varlen", CPU)(POSITIONS)
    dense = dense_mask(POSITIONS)[:, None]
    for scores in (Scores(), Scores(window=3)):
        torch.testing.assert_close(attend(q, k, v, mask, scores), attend(q, k, v, dense, scores))


def test_this_torch_has_the_packed_call_as_it_is_called() -> None:
    assert attention._import_varlen()
    q = torch.randn(6, 2, 8)
    bounds = torch.tensor([0, 4, 6], dtype=torch.int32)
    how: dict[str, Any] = {"enable_gqa": True} if attention._varlen_groups else {}
    with pytest.raises(NotImplementedError):  # the arguments are accepted; the kernel is CUDA's
        attention._varlen(q, q, q, bounds, bounds, 4, 4, window_size=(-1, 0), **how)


def test_a_cpu_attends_document_by_document_and_refuses_the_kernels_of_a_gpu() -> None:
    assert document_kernel("auto", CPU, torch.float32, 64) == "sdpa"
    for kernel in ("varlen", "flex"):
        with pytest.raises(UsageError, match=f"`attention` {kernel} cannot run here: it needs"):
            document_kernel(kernel, CPU, torch.float32, 64)
