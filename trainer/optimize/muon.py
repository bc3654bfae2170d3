"""Muon's updates: the momentum of each matrix with its singular values brought near 1 (Jordan et al. 2024).

Over several ranks each matrix is the work of one of them, in turn. Sharded matrices of one shape go in rounds
of as many as there are ranks: an all-to-all gives each rank the whole of one, a second takes its update back
to where the rows lie, so that no rank holds more than one whole matrix and its update. Replicated ones go in
rounds too, broadcast by the rank that did them. Experts divided among ranks are whole where they lie.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gristmill.trainer.ranks.sharding import local, row_counts, shard_group

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: slope at 0 as steep as stays stable

AT_ONCE = 1 << 24  # weights of one shape that go through together: small ones fill a GPU, large ones go alone

Update = Callable[[str], Tensor]  # this rank's part of a matrix's update, before it is orthogonalised


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of a stack (n, rows, columns) near 1 by Newton-Schulz; bf16 is enough."""
    a, b, c = NEWTON_SCHULZ
    x = matrices
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (torch.linalg.vector_norm(x.float(), dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = x.mT if tall else x
    return out


class Muon:
    """Which rank does which matrix, and the exchange that this takes."""

    def __init__(self, parameters: dict[str, Any], splits: dict[str, list[int]], dtype: torch.dtype) -> None:
        self.parameters, self.splits, self.dtype = parameters, splits, dtype
        several = dist.is_initialized() and dist.get_world_size() > 1
        self.here: list[str] = []
        self.replicated: list[str] = []
        by_shape: dict[Any, list[str]] = defaultdict(list)
        for name, parameter in parameters.items():
            group = shard_group(parameter)
            if group is not None and parameter.ndim == 2:
                by_shape[group, tuple(parameter.shape)].append(name)
            elif several and group is None:
                self.replicated.append(name)
            else:
                self.here.append(name)
        self.replicated.sort(key=lambda name: tuple(parameters[name].shape))  # alike ones take alike long
        self.rounds = [
            (group, names[start : start + group.size()])
            for (group, _), names in by_shape.items()
            for start in range(0, len(names), group.size())
        ]

    def updates(self, update: Update) -> Iterator[tuple[str, Tensor]]:
        """Yield each matrix's name and this rank's part of its orthogonal update, one after the other."""
        yield from self._whole(self.here, update)
        yield from self._in_turn(update)
        for group, names in self.rounds:
            yield from self._round(group, names, update)

    def _whole(self, names: list[str], update: Update) -> Iterator[tuple[str, Tensor]]:
        """Matrices of one shape go through Newton-Schulz together, up to `AT_ONCE` weights at a time."""
        by_shape: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name in names:
            by_shape[tuple(local(self.parameters[name]).shape)].append(name)
        for shape, alike in by_shape.items():
            count = max(1, AT_ONCE // max(1, math.prod(shape)))
            for start in range(0, len(alike), count):
                yield from self._together(alike[start : start + count], update)

    def _together(self, names: list[str], update: Update) -> Iterator[tuple[str, Tensor]]:
        by_shape: dict[tuple[int, ...], list[tuple[str, int, Tensor]]] = defaultdict(list)
        for name in names:
            for index, part in enumerate(self._parts(name, update(name))):
                by_shape[tuple(part.shape[-2:])].append((name, index, part))
        done: dict[str, dict[int, Tensor]] = defaultdict(dict)
        for shape, members in by_shape.items():
            stacks = [part.reshape(-1, *shape) for _, _, part in members]
            # 0.2 sqrt(max side) gives an update the root mean square of AdamW's (Moonshot, 2025)
            flat = orthogonalise(torch.cat(stacks).to(self.dtype)) * (0.2 * math.sqrt(max(shape)))
            for (name, index, part), result in zip(
                members, flat.split_with_sizes([len(stack) for stack in stacks]), strict=True
            ):
                done[name][index] = result.view_as(part)
        for name, parts in done.items():
            yield name, torch.cat([parts[index] for index in range(len(parts))], dim=-2)

    def _parts(self, name: str, matrix: Tensor) -> tuple[Tensor, ...]:
        return matrix.split_with_sizes(self.splits.get(name, [matrix.shape[-2]]), dim=-2)

    def _in_turn(self, update: Update) -> Iterator[tuple[str, Tensor]]:
        if not self.replicated:
            return
        rank, world = dist.get_rank(), dist.get_world_size()
        for start in range(0, len(self.replicated), world):
            names = self.replicated[start : start + world]
            done: dict[str, Tensor] = {}
            for index, name in enumerate(names):
                if index == rank:
                    done = dict(self._together([name], update))
                else:
                    update(name)  # for its momentum, which every rank keeps
            for index, name in enumerate(names):
                result = done.pop(name, None)
                if result is None:
                    result = torch.empty_like(self.parameters[name], dtype=self.dtype)
                result = result.contiguous()
                dist.broadcast(result, index)
                yield name, result

    def _round(self, group: Any, names: list[str], update: Update) -> Iterator[tuple[str, Tensor]]:
        rank, shape = group.rank(), self.parameters[names[0]].shape
        rows = row_counts(shape[0], group.size())
        own = [rows[rank] * shape[1] if index < len(names) else 0 for index in range(group.size())]
        theirs = [count * shape[1] if rank < len(names) else 0 for count in rows]
        sent = torch.cat([update(name).to(self.dtype).flatten() for name in names])
        whole = sent.new_empty(sum(theirs))
        dist.all_to_all_single(whole, sent, theirs, own, group=group)
        if rank < len(names):
            matrix = whole.view(shape)
            for _, result in self._together([names[rank]], lambda name: matrix):
                whole = result.flatten()
        dist.all_to_all_single(sent, whole, own, theirs, group=group)
        for name, part in zip(names, torch.split(sent, own[: len(names)]), strict=True):
            yield name, part.view_as(local(self.parameters[name]))
