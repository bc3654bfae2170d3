"""Causal attention inside documents, whichever kernel the device has.

The only mask input is `positions`: a token may see the `positions` tokens before it and itself. With masking
off the plain causal kernel runs, the fastest of all. Three kernels attend inside documents:

    varlen   one call over all documents laid end to end: CUDA, 16 bits
    flex     FlexAttention, which skips the blocks between documents: CUDA, any precision
    sdpa     a call per document, exact, cheaper than the full square: everywhere, the choice on a CPU
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gristmill.errors import UsageError

SMALLEST_CAPACITY = 64  # documents per batch, and the factor it grows by: few buffers, never smaller again
CAPACITY_STEP = 4


class Segments:
    """Documents of a batch whose rows are laid end to end: their lengths in tokens.

    Not a tuple: a compiled block would look into one and be compiled anew for each number of documents.
    """

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segments) and self.lengths == other.lengths

    __hash__ = None  # type: ignore[assignment]


class PackedBatch(NamedTuple):
    """The same on a GPU: where each document begins and the last ends (int32, the last repeated), and a bound
    on lengths."""

    bounds: Tensor
    longest: int


class Blocks:
    """FlexAttention's masks, by window: which blocks of keys a block of queries sees."""

    def __init__(self, masks: dict[int, Any]) -> None:
        self.masks = masks


# None: causal; Tensor: bool, True where a key may be seen, queries being the last of the keys
Mask = Segments | PackedBatch | Blocks | Tensor | None


class Scores(NamedTuple):
    """How a layer turns products of queries and keys into weights."""

    scale: float | None = None  # None: 1 / sqrt(head width)
    softcap: float = 0.0  # c tanh(score / c); 0: off
    window: int = 0  # tokens a query sees, itself counted; 0: all before it


PLAIN = Scores()


class DocumentMasks:
    """Make the mask of a batch from its positions (rows, tokens) on the CPU, once for all layers, without
    waiting for the GPU."""

    def __init__(self, kernel: str, device: torch.device, windows: tuple[int, ...] = (0,)) -> None:
        self.kernel, self.device, self.windows = kernel, device, windows
        self.capacity = SMALLEST_CAPACITY

    def __call__(self, positions: Tensor) -> Mask:
        if self.kernel == "flex":
            places = positions.to(self.device, non_blocking=True)
            return Blocks({window: block_mask(places, window) for window in self.windows})
        starts = torch.nonzero(positions.flatten() == 0).flatten()
        bounds = torch.cat([starts, starts.new_tensor([positions.numel()])])
        if self.kernel == "sdpa":
            return Segments(bounds.diff().tolist())
        while len(bounds) > self.capacity:
            self.capacity *= CAPACITY_STEP
        bounds = F.pad(
            bounds.int(), (0, self.capacity - len(bounds)), value=positions.numel()
        )  # documents without tokens
        bounds = bounds.pin_memory() if self.device.type == "cuda" else bounds
        bounds = bounds.to(self.device, non_blocking=True)
        torch._dynamo.maybe_mark_dynamic(bounds, 0)  # one compiled block serves every capacity
        return PackedBatch(bounds, positions.shape[1])


def document_kernel(
    wanted: str, device: torch.device, dtype: torch.dtype, head_dim: int, softcap: bool = False
) -> str:
    """Resolve auto to the first of varlen, flex and sdpa that can run here; one asked for that cannot is an
    error."""
    lacking = {"varlen": _varlen_lacks(device, dtype, head_dim), "flex": _flex_lacks(device), "sdpa": ""}
    if softcap:
        lacking["varlen"] = lacking["varlen"] or "scores without a soft cap"
    if wanted == "auto":
        return next(kernel for kernel, reason in lacking.items() if not reason)
    if lacking[wanted]:
        raise UsageError(
            f"`attention` {wanted} cannot run here: it needs {lacking[wanted]}", hint="leave it at auto"
        )
    return wanted


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, scores: Scores = PLAIN) -> Tensor:
    """Attend queries (B, T, H, d) to keys and values (B, S, K, d), K dividing H; return (B, T, H, d)."""
    if isinstance(mask, Segments):
        out: Tensor = _attend_segments(q, k, v, mask, scores)
        return out
    if isinstance(mask, PackedBatch):
        return _attend_packed(q, k, v, mask, scores)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    grouped = q.shape[1] != k.shape[1]
    if isinstance(mask, Blocks):
        how = {"scale": scores.scale, "enable_gqa": grouped}
        capped = _score_cap(scores.softcap) if scores.softcap else None
        out = _flex(q, k, v, score_mod=capped, block_mask=mask.masks[scores.window], **how)
        return out.transpose(1, 2)
    mask = _windowed(mask, q.shape[2], k.shape[2], scores.window, q.device)
    if scores.softcap:
        return _attend_capped(q, k, v, mask, scores).transpose(1, 2)
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=scores.scale, enable_gqa=grouped
    )
    return out.transpose(1, 2)


def _windowed(
    mask: Tensor | None, queries: int, keys: int, window: int, device: torch.device
) -> Tensor | None:
    """Narrow a mask to the window; the last query is the last key."""
    if not window or keys <= window:
        return mask
    place = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)
    near = (key <= place) & (place - key < window)
    return near if mask is None else mask & near


def _attend_capped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scores: Scores) -> Tensor:
    """Attend with soft-capped scores, which no fused kernel on a CPU has: the weights are written out."""
    groups = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (k, v))
    values = (q @ k.mT).float() * (scores.scale or q.shape[-1] ** -0.5)
    values = scores.softcap * torch.tanh(values / scores.softcap)
    if mask is None:
        mask = torch.ones(values.shape[-2:], dtype=torch.bool, device=q.device).tril()
    return values.masked_fill(~mask, -torch.inf).softmax(-1).to(v.dtype) @ v


# lengths differ from batch to batch: a compiled block would be compiled anew for each
@torch.compiler.disable
def _attend_segments(q: Tensor, k: Tensor, v: Tensor, mask: Segments, scores: Scores) -> Tensor:
    # split, not slices: the gradient of a split is one concatenation, that of a slice a full-size tensor of
    # zeros.
    parts = zip(*(x.flatten(0, 1).split_with_sizes(mask.lengths) for x in (q, k, v)), strict=True)
    return torch.cat([attend(a[None], b[None], c[None], None, scores)[0] for a, b, c in parts]).view_as(q)


def _attend_packed(q: Tensor, k: Tensor, v: Tensor, mask: PackedBatch, scores: Scores) -> Tensor:
    grouped = q.shape[2] // k.shape[2]
    how: dict[str, Any] = {"enable_gqa": True} if grouped > 1 and _varlen_groups else {}
    if grouped > 1 and not how:
        k, v = (x.repeat_interleave(grouped, dim=2) for x in (k, v))
    if scores.scale is not None:
        how["scale"] = scores.scale
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    back = scores.window - 1 if scores.window else -1
    out: Tensor = _varlen(
        *flat, mask.bounds, mask.bounds, mask.longest, mask.longest, window_size=(back, 0), **how
    )
    return out.reshape(q.shape)


@functools.cache
def _score_cap(bound: float) -> Callable[..., Tensor]:
    def capped(score: Tensor, row: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return bound * torch.tanh(score / bound)

    return capped


def block_mask(positions: Tensor, window: int = 0) -> Any:
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
    reach = window or length

    def within_document(row: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (k >= q - positions[row, q]) & (q - k < reach)

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
