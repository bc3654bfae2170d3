"""Linear maps whose three matrix products run in 8 bits: one scale per tensor, taken from its largest value
each time.

Inputs and weights are rounded to e4m3, gradients to e5m2, as in torchao's tensorwise recipe. It pays from
about 1B parameters, with compiled blocks, on GPUs with 8-bit matrix units (compute capability 8.9 and above);
evaluation and checkpoints are untouched, since weights stay fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gristmill.errors import UsageError
from gristmill.trainer.layers import Linear
from gristmill.trainer.model import Model

SMALLEST = 128  # narrower matrices lose more to rounding than they gain (nanochat)
ALIGNMENT = 16  # of every side, which the kernel demands


def quantize(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return a tensor in 8 bits and the fp32 scale that brings it back."""
    scale = (x.abs().amax().float() / torch.finfo(dtype).max).clamp(min=1e-12)
    limit = torch.finfo(dtype).max
    return (x.float() / scale).clamp(-limit, limit).to(dtype), scale


class _Float8Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        x8, x_scale = quantize(x, torch.float8_e4m3fn)
        w8, w_scale = quantize(weight, torch.float8_e4m3fn)
        ctx.save_for_backward(x8, x_scale, w8, w_scale)
        return _product(x8, w8.t(), x_scale, w_scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x8, x_scale, w8, w_scale = ctx.saved_tensors
        g8, g_scale = quantize(grad, torch.float8_e5m2)
        d_x = _product(g8, w8.t().contiguous().t(), g_scale, w_scale)
        d_weight = _product(g8.t().contiguous(), x8.t().contiguous().t(), g_scale, x_scale)
        return d_x, d_weight


def _product(a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor) -> Tensor:
    """Multiply (m, k) row by row with (k, n) column by column, both in 8 bits, into bf16."""
    out: Tensor = torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16)
    return out


class Float8Linear(Linear):
    """A Linear with the same weights that multiplies in 8 bits while gradients are on."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        if not torch.is_grad_enabled() or x.dtype != torch.bfloat16 or rows.shape[0] % ALIGNMENT:
            return super().forward(x)
        apply: Any = _Float8Product.apply
        out: Tensor = apply(rows, self.weight.to(x.dtype)).unflatten(0, x.shape[:-1])
        return out if self.bias is None else out + self.bias.to(x.dtype)


def use_float8(model: Model, device: torch.device) -> int:
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
            count += 1
    return count
