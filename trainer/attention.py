"""Causal attention inside documents, whichever kernel the device has.

The only mask input is `positions`: a token may see the `positions` tokens before it and itself. With masking
off the plain causal kernel runs, the fastest of all. Three kernels attend inside documents:

    varlen   one call over all documents laid end to end: CUDA, 16 bits
    flex     FlexAttention, which skips the blocks between documents: CUDA, any precision
    sdpa     a call per document, exact, cheaper than the full square: everywhere, the choice on a CPU
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gristmill.errors import UsageError


class Segments(NamedTuple):
    """Documents of a batch whose rows are laid end to end: their lengths in tokens."""

    lengths: list[int]


class Packed(NamedTuple):
    """The same on a GPU: where each document begins and the last ends (int32, the last repeated), and a bound
    on lengths."""

    bounds: Tensor
    longest: int


Mask = (
    Segments | Packed | Tensor | Any | None
)  # None: causal; Tensor: bool, True where a key may be seen; else a flex BlockMask


class DocumentMasks:
    """Make the mask of a batch from its positions (rows, tokens) on the CPU, once for all layers, without
    waiting for the GPU."""

    def __init__(self, kernel: str, device: torch.device) -> None:
        self.kernel, self.device = kernel, device
        self.capacity = 0

    def __call__(self, positions: Tensor) -> Mask:
        if self.kernel == "flex":
            return block_mask(positions.to(self.device, non_blocking=True))
        starts = torch.nonzero(positions.flatten() == 0).flatten()
        bounds = torch.cat([starts, starts.new_tensor([positions.numel()])])
        if self.kernel == "sdpa":
            return Segments(bounds.diff().tolist())
        if (
            len(bounds) > self.capacity
        ):  # compiled blocks are compiled anew for each size: so it doubles and never shrinks
            self.capacity = 1 << (len(bounds) - 1).bit_length()
        bounds = F.pad(
            bounds.int(), (0, self.capacity - len(bounds)), value=positions.numel()
        )  # documents without tokens
        bounds = bounds.pin_memory() if self.device.type == "cuda" else bounds
        return Packed(bounds.to(self.device, non_blocking=True), positions.shape[1])


def document_kernel(wanted: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
    """Resolve auto to the first of varlen, flex and sdpa that can run here; one asked for that cannot is an
    error."""
    lacking = {"varlen": _varlen_lacks(device, dtype, head_dim), "flex": _flex_lacks(device), "sdpa": ""}
    if wanted == "auto":
        return next(kernel for kernel, reason in lacking.items() if not reason)
    if lacking[wanted]:
        raise UsageError(
            f"`attention` {wanted} cannot run here: it needs {lacking[wanted]}", hint="leave it at auto"
        )
    return wanted


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask) -> Tensor:
    """Attend queries (B, T, H, d) to keys and values (B, S, K, d), K dividing H; return (B, T, H, d)."""
    if isinstance(mask, Segments):
        out: Tensor = _attend_segments(q, k, v, mask.lengths)
        return out
    if isinstance(mask, Packed):
        return _attend_packed(q, k, v, mask)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    grouped = q.shape[1] != k.shape[1]
    if mask is None or isinstance(mask, Tensor):
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
        )
    else:
        out = _flex(q, k, v, block_mask=mask, enable_gqa=grouped)
    return out.transpose(1, 2)


# lengths differ from batch to batch: a compiled block would be compiled anew for each
@torch.compiler.disable
def _attend_segments(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    # split, not slices: the gradient of a split is one concatenation, that of a slice a full-size tensor of
    # zeros.
    parts = zip(*(x.flatten(0, 1).split_with_sizes(lengths) for x in (q, k, v)), strict=True)
    return torch.cat([attend(a[None], b[None], c[None], None)[0] for a, b, c in parts]).view_as(q)


def _attend_packed(q: Tensor, k: Tensor, v: Tensor, mask: Packed) -> Tensor:
    grouped = q.shape[2] // k.shape[2]
    how: dict[str, Any] = {"enable_gqa": True} if grouped > 1 and _varlen_groups else {}
    if grouped > 1 and not how:
        k, v = (x.repeat_interleave(grouped, dim=2) for x in (k, v))
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    out: Tensor = _varlen(
        *flat, mask.bounds, mask.bounds, mask.longest, mask.longest, window_size=(-1, 0), **how
    )
    return out.reshape(q.shape)


def block_mask(positions: Tensor) -> Any:
    """Return flex's mask for positions (rows, tokens): which blocks of keys a block of queries sees, wholly
    or in part."""
    global _flex, _create
    if _flex is None:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        compiled: Callable[..., Any] = (
            torch.compile if positions.device.type == "cuda" else lambda function: function
        )
        _flex, _create = compiled(flex_attention), compiled(create_block_mask)
    rows, length = positions.shape

    def within_document(row: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (k >= q - positions[row, q])

    return _create(within_document, B=rows, H=None, Q_LEN=length, KV_LEN=length, device=positions.device)


# Imported when they are first asked for (they bring the compiler along), and before any compiled block looks
# them up.
_flex: Any = None
_create: Any = None
_varlen: Any = None
_varlen_groups = False  # whether it takes fewer heads of keys than of queries: after torch 2.11


def _varlen_lacks(device: torch.device, dtype: torch.dtype, head_dim: int) -> str:
    """Say what the kernel behind `varlen_attn` (FlashAttention 2) needs and has not; empty when it can
    run."""
    if device.type != "cuda" or not torch.backends.cuda.is_flash_attention_available():
        return "a CUDA build with FlashAttention"
    if not _import_varlen():
        return "torch.nn.attention.varlen with a window"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "compute capability 8.0"
    if dtype not in (torch.bfloat16, torch.float16):
        return "16 bits"
    return "" if head_dim % 8 == 0 and head_dim <= 256 else "heads of a multiple of 8 up to 256"


def _import_varlen() -> bool:
    global _varlen, _varlen_groups
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    takes = inspect.signature(varlen_attn).parameters
    _varlen, _varlen_groups = varlen_attn, "enable_gqa" in takes
    return "window_size" in takes


def _flex_lacks(device: torch.device) -> str:
    if device.type != "cuda":
        return "CUDA"
    return "" if importlib.util.find_spec("triton") else "Triton, which compiles its kernel"


class KVCache:
    """Keys and values of the tokens seen so far, per layer, for one batch of generation."""

    def __init__(
        self, num_layers: int, rows: int, length: int, num_kv_heads: int, head_dim: int, like: Tensor
    ) -> None:
        shape = (num_layers, 2, rows, length, num_kv_heads, head_dim)
        self.data = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.length = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values and return all so far; the caller moves `length` on after the last
        layer."""
        stop = self.length + k.shape[1]
        self.data[layer, 0, :, self.length : stop] = k
        self.data[layer, 1, :, self.length : stop] = v
        return self.data[layer, 0, :, :stop], self.data[layer, 1, :, :stop]

    def reorder(self, rows: Tensor) -> None:
        """Keep the given rows, in this order: beams that survive."""
        self.data = self.data[:, :, rows]
