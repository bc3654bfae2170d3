"""Which rows of a parameter lie on this rank: FSDP2 divides the first dimension, in torch.chunk's pieces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def local(tensor: Any) -> Any:
    """Return this rank's part of a tensor: all of it, unless it is sharded."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def shard_group(tensor: Any) -> Any:
    """Return the process group whose ranks hold a tensor's rows between them; None: it is not sharded."""
    dim = _shard_dim(tensor)
    return None if dim is None else tensor.device_mesh.get_group(dim)


def row_counts(rows: int, ranks: int) -> list[int]:
    """Return how many rows each of the ranks holds."""
    chunk = -(-rows // ranks)
    return [max(0, min(rows, (rank + 1) * chunk) - rank * chunk) for rank in range(ranks)]


def first_row(tensor: Any) -> int:
    """Return the first row this rank holds."""
    dim = _shard_dim(tensor)
    if dim is None:
        return 0
    counts = row_counts(tensor.shape[0], tensor.device_mesh.size(dim))
    return sum(counts[: tensor.device_mesh.get_local_rank(dim)])


@torch.no_grad()
def assign(parameter: Tensor, values: Tensor) -> None:
    """Copy full values, which every rank has, into a parameter; a sharded one takes its own rows."""
    own, first = local(parameter), first_row(parameter)
    own.copy_(values[first : first + len(own)])


def _shard_dim(tensor: Any) -> int | None:
    for dim, placement in enumerate(getattr(tensor, "placements", ())):
        if placement.is_shard():
            return dim
    return None
