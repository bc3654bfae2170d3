"""How fast a run trains, without what is no part of training: evaluations, tasks and saves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from gristmill.errors import StepFailed
from gristmill.trainer.logs.told import spell_seconds
from gristmill.trainer.ranks.parallel import Group


class Meter:
    """Tokens per second between two rows of the log, and what was paused in all."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.paused = self.paused_in_all = 0.0
        self._logged: tuple[float, int] | None = None

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Keep what is done within out of the speed of training."""
        if self.group.device.type == "cuda":
            torch.cuda.synchronize(self.group.device)
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        self.paused, self.paused_in_all = self.paused + took, self.paused_in_all + took

    def speed(self, tokens: int, started: float, num_targets: int) -> float:
        """Return tokens per second since the last call; the first counts the step that `started` then."""
        now = time.perf_counter()
        since, before = self._logged or (started, tokens - num_targets)
        found = (tokens - before) / max(1e-9, now - since - self.paused)
        self._logged, self.paused = (now, tokens), 0.0
        return found

    def mfu(self, speed: float, flops_per_token: float) -> float | None:
        """Return the share of the cards' peak, where that is known."""
        peak = self.group.peak_flops
        return None if peak is None else speed * flops_per_token / (peak * self.group.world)


def spell_row(row: Mapping[str, Any]) -> str:
    """Spell a row of the log for who watches the run itself."""
    share = "" if row["mfu"] is None else f"  mfu {row['mfu']:.1%}"
    return (
        f"step {row['step']}/{row['steps']}  loss {row['loss']:.4f}  norm {row['grad_norm']:.2f}"
        f"  lr {row['lr']:.2e}  {row['tokens_per_s']:,.0f} tokens/s{share}"
        f"  {spell_seconds(row['seconds_to_go'])} to go"
    )


def give_up(skipped: int, row: Mapping[str, Any], where: str) -> StepFailed:
    """Return the error of a run whose steps are all skipped."""
    return StepFailed(
        f"{skipped} steps in a row were skipped: the loss is {row['loss']}, the gradient norm"
        f" {row['grad_norm']}",
        where=f"{where} step {row['step']}",
        hint=(
            "lower optimizer.lr, lengthen the warm-up, or go on from an earlier checkpoint; log.jsonl shows"
            " when it began and which documents those steps had read (event: skip)"
        ),
    )
