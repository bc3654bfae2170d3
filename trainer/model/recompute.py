"""Activations between the passes: kept, computed again where that is cheap, or all computed again.

`full` keeps a layer's input. `selective` keeps besides what costs most to compute, the results of matrix
products and of attention, and computes norms, rotations, gates and casts again: about half the memory for a
few per cent of the time. Inside a compiled block its compiler decides over both passes at once.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

KEPT = {
    "aten": (
        "mm", "addmm", "bmm", "_scaled_mm", "_grouped_mm", "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
    ),
    "torch_attn": ("_varlen_attn",),
    "gristmill": ("experts",),
}  # fmt: skip


def recomputed(layer: Any, how: str, *arguments: Any) -> Any:
    """Call a layer so that its activations are computed again in the backward pass, all of them or some."""
    if how == "full":
        return checkpoint(layer, *arguments, use_reentrant=False)
    contexts = functools.partial(create_selective_checkpoint_contexts, _policy)
    return checkpoint(layer, *arguments, use_reentrant=False, context_fn=contexts)


def _policy(context: Any, operator: Any, *arguments: Any, **named: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in _kept() else CheckpointPolicy.PREFER_RECOMPUTE


@functools.cache
def _kept() -> frozenset[Any]:
    found = set()
    for space, names in KEPT.items():
        operators = getattr(torch.ops, space)
        found |= {getattr(operators, name).default for name in names if hasattr(operators, name)}
    flex = getattr(torch.ops.higher_order, "flex_attention", None)
    return frozenset(found | {flex})
