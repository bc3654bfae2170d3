"""First weights: normal, from generators keyed by seed, name and rows, the same for any sharding.

Deviation 0.02; projections back into the residual stream 0.02 / sqrt(2 layers) (GPT-2); gains 1, biases 0. A
rank draws the blocks its rows lie in, and several threads draw at once: torch draws without Python's lock.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from gristmill.trainer.model.decoder import Model
from gristmill.trainer.ranks.sharding import first_row, local

ONE_GENERATOR = 1 << 22  # weights: a matrix up to this size is one draw, a larger one is drawn in blocks
BLOCK = 1 << 18  # of so many weights, whole rows


@torch.no_grad()
def init_weights(model: Model, seed: int, mup_base_width: int = 0) -> None:
    """Draw every weight of this rank; with a base width as muP has it, the same as ever at that width."""
    draws: list[Callable[[], None]] = []
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif "norm" in name:
            parameter.fill_(1.0)
        else:
            draws += _draws(parameter, f"{seed}/{name}", deviation(name, model, mup_base_width))
    if len(draws) < 64:
        for draw in draws:
            draw()
        return
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        for done in [pool.submit(draw) for draw in draws]:
            done.result()


def deviation(name: str, model: Model, mup_base_width: int = 0) -> float:
    """Return the standard deviation a weight is drawn with.

    muP (Yang et al. 2022, table 3): hidden matrices as 1 / sqrt(width), the head as 1 / width.
    """
    residual = name.endswith(("attention.out.weight", "ffn.down.weight", "ffn.down"))
    usual = 0.02 / math.sqrt(2 * model.config.num_layers) if residual else 0.02
    wider = model.config.width / mup_base_width if mup_base_width else 1.0
    if name == "head.weight":
        return usual / wider
    return usual / math.sqrt(wider) if name.startswith("blocks.") else usual


def _draws(parameter: Tensor, key: str, spread: float) -> Iterator[Callable[[], None]]:
    """Return what draws the blocks that this rank's rows lie in."""
    own, first = local(parameter), first_row(parameter)
    rows, per_row = parameter.shape[0], parameter[0].numel()
    block = rows if parameter.numel() <= ONE_GENERATOR else max(1, BLOCK // per_row)
    for start in range(first - first % block, first + len(own), block):
        shape = (min(block, rows - start), *parameter.shape[1:])
        yield _Draw(own, start - first, shape, f"{key}/{start}" if start else key, spread)


class _Draw:
    """Draw one block and copy what of it lies in `own`, whose row 0 is the block's row -`at`."""

    def __init__(self, own: Tensor, at: int, shape: tuple[int, ...], key: str, spread: float) -> None:
        self.own, self.at, self.shape, self.key, self.spread = own, at, shape, key, spread

    @torch.no_grad()
    def __call__(self) -> None:
        digest = hashlib.blake2b(self.key.encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
        values = torch.empty(self.shape).normal_(0.0, self.spread, generator=generator)
        start, stop = max(self.at, 0), min(self.at + len(values), len(self.own))
        self.own[start:stop].copy_(values[start - self.at : stop - self.at])
