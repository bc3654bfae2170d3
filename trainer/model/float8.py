"""Linear maps whose three matrix products run in 8 bits, scaled by their largest values each time.

Inputs and weights are rounded to e4m3 and gradients to e5m2 with one scale each, as in torchao's tensorwise
recipe, or all to e4m3 with a scale per row, as in its rowwise one. It pays from about 1B parameters, with
compiled blocks, on GPUs with 8-bit matrix units (compute capability 8.9 and above); evaluation and
checkpoints are untouched, since weights stay fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gristmill.errors import UsageError
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.layers import Linear

SMALLEST = 128  # narrower matrices lose more to rounding than they gain (nanochat)
ALIGNMENT = 16  # of every side, which the kernel demands


def quantize(x: Tensor, dtype: torch.dtype, dim: int | None = None) -> tuple[Tensor, Tensor]:
    """Return a tensor in 8 bits and the fp32 scale that brings it back; `dim`: a scale for each slice that
    runs along it."""
    limit = torch.finfo(dtype).max
    largest = x.abs().amax() if dim is None else x.abs().amax(dim, keepdim=True)
    scale = (largest.float() / limit).clamp(min=1e-12)
    return (x.float() / scale).clamp(-limit, limit).to(dtype), scale


class _Float8Product(torch.autograd.Function):
    """x W^T. Of the weight nothing is saved but itself, which is rounded again: under FSDP its 8-bit copy
    would be the whole of each layer's, on every rank."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, by_row: bool) -> Tensor:  # type: ignore[override]
        ctx.by_row = by_row
        dim = 1 if by_row else None
        x8, x_scale = quantize(x, torch.float8_e4m3fn, dim)
        w8, w_scale = quantize(weight.to(x.dtype), torch.float8_e4m3fn, dim)
        ctx.save_for_backward(*((x, x_scale) if by_row else (x8, x_scale)), weight)
        return _product(x8, w8.t(), x_scale, w_scale.t(), fast=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        x, x_scale, weight = ctx.saved_tensors
        kind = torch.float8_e4m3fn if ctx.by_row else torch.float8_e5m2  # rows need no wide range
        sums_over = (1, 0) if ctx.by_row else (None, None)
        # d x = g W sums over the outputs: rows of g, columns of W; d W = g^T x over the tokens
        g8, g_scale = quantize(grad, kind, sums_over[0])
        w8, w_scale = quantize(weight.to(grad.dtype), torch.float8_e4m3fn, sums_over[1])
        d_x = _product(g8, w8.t().contiguous().t(), g_scale, w_scale)
        if ctx.by_row:
            g8, g_scale = quantize(grad, kind, 0)
            x, x_scale = quantize(x, torch.float8_e4m3fn, 0)
        d_weight = _product(g8.t().contiguous(), x.t().contiguous().t(), g_scale.t(), x_scale)
        return d_x, d_weight.to(weight.dtype), None


def _product(a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, fast: bool = False) -> Tensor:
    """Multiply (m, k) row by row with (k, n) column by column, both in 8 bits, into bf16; `fast` adds up in
    fewer bits, as is usual forward and not backward (torchao)."""
    if a_scale.ndim:
        a_scale, b_scale = a_scale.flatten()[:, None], b_scale.flatten()[None]
    out: Tensor = torch._scaled_mm(
        a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16,
        use_fast_accum=fast,
    )  # fmt: skip
    return out


class Float8Linear(Linear):
    """A Linear with the same weights that multiplies in 8 bits while gradients are on."""

    by_row = False

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        if not torch.is_grad_enabled() or x.dtype != torch.bfloat16 or rows.shape[0] % ALIGNMENT:
            return super().forward(x)
        apply: Any = _Float8Product.apply
        out: Tensor = apply(rows, self.weight, self.by_row).unflatten(0, x.shape[:-1])
        return out if self.bias is None else out + self.bias.to(x.dtype)


def use_float8(model: Model, device: torch.device, scales: str = "tensor") -> int:
    """Turn the blocks' large linear maps to 8 bits, in place; return how many. The head and routers stay as
    they are."""
    if not hasattr(torch, "_scaled_mm"):
        raise UsageError(
            "`float8` needs torch's scaled matrix product, which this build lacks", hint="set float8 to false"
        )
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        name = torch.cuda.get_device_name(device)
        raise UsageError(
            f"`float8` needs compute capability 8.9 or above, {name} has less", hint="set float8 to false"
        )
    if model.dtype != torch.bfloat16:
        raise UsageError(
            "`float8` computes beside bf16, and the run's dtype is fp32", hint="set dtype to bf16"
        )
    count = 0
    for module in model.blocks.modules():
        if type(module) is Linear and all(
            side % ALIGNMENT == 0 and side >= SMALLEST for side in module.weight.shape
        ):
            module.__class__ = Float8Linear
            module.by_row = scales == "row"  # type: ignore[assignment]
            count += 1
    return count
