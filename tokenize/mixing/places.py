"""Where a copy of a document goes: shards are ranges of a keyed hash, so its shard is known without
looking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.hashing import keyed_hash

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Take:
    """What a set of shards takes: a split of a source, by its name and number, spread over a range of shards.

    Copies up to the level `bound` are taken, and no document more than `copies` times. Of the one copy at
    `cut_level`, if that is not -1, the first `cut_tokens` tokens are taken, the end token among them. `gates`
    are those of `gristmill.tokenize.mixing.gates`, `cells` the weights of cells.
    """

    source: str
    number: int
    split: str
    first_shard: int
    num_shards: int
    bound: int
    copies: int
    gates: tuple[int, ...] = ()
    cut_level: int = -1
    cut_tokens: int = 0
    cells: Mapping[str, Mapping[str, float]] | None = None


def order_of(ids: pa.Array, copy: int, seed: int) -> U64:
    """The place of a copy of each document in the shuffle; copies count from 1."""
    return keyed_hash(seed, f"mix.order.{copy}", ids)


def shard_of(keys: U64, first_shard: int, num_shards: int) -> npt.NDArray[np.int64]:
    """Spread places evenly over the shards, in order."""
    number = ((keys >> np.uint64(32)) * np.uint64(num_shards)) >> np.uint64(32)
    return np.asarray(number, np.int64) + first_shard


def possible_shards(id_: bytes, first_shard: int, num_shards: int, copies: int, seed: int) -> list[int]:
    """The shards in which a document can lie, if it is taken at all."""
    ids = pa.array([id_], pa.binary(16))
    return sorted(
        {
            int(shard_of(order_of(ids, copy, seed), first_shard, num_shards)[0])
            for copy in range(1, copies + 1)
        }
    )
