"""The learning rate of each step, as a fraction of its peak: a pure function, so a resume needs no state."""

from __future__ import annotations

import math

from gristmill.errors import UsageError
from gristmill.trainer.config import OptimizerSettings


def lr_factor(
    step: int,
    steps: int,
    settings: OptimizerSettings,
    step_tokens: int = 0,
    begin: float | None = None,
) -> float:
    """Return the factor of step 0..steps-1.

    `step_tokens` turns lengths given in tokens into steps. A branch begins at the factor `begin` that its
    trunk had come to: its warm-up rises from there, and the schedule `decay` falls from there.
    """
    if settings.schedule == "decay":  # WSD's last part alone
        return (1.0 if begin is None else begin) * (1 - math.sqrt(step / steps))
    warmup = warmup_steps(steps, settings, step_tokens)
    if step < warmup:
        low = 0.0 if begin is None else begin
        return low + (1 - low) * (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "cosine":
        progress = (step - warmup) / max(1, steps - warmup)
        return settings.final_lr_fraction + (1 - settings.final_lr_fraction) * 0.5 * (
            1 + math.cos(math.pi * progress)
        )
    decay = decay_steps(steps, settings, step_tokens)
    left = steps - step
    return 1.0 if left >= decay else 1 - math.sqrt(1 - left / decay)


def warmup_steps(steps: int, settings: OptimizerSettings, step_tokens: int = 0) -> int:
    """Return how many steps the rate rises: in steps or tokens where those are given, else a fraction."""
    by_tokens = -(-settings.warmup_tokens // step_tokens) if step_tokens else 0
    return settings.warmup_steps or by_tokens or math.ceil(settings.warmup_fraction * steps)


def decay_steps(steps: int, settings: OptimizerSettings, step_tokens: int = 0) -> int:
    """Return how many steps the rate falls at the end of a WSD run."""
    by_tokens = -(-settings.decay_tokens // step_tokens) if step_tokens else 0
    return settings.decay_steps or by_tokens or math.ceil(settings.decay_fraction * steps)


def check_schedule(steps: int, settings: OptimizerSettings, step_tokens: int) -> None:
    """Refuse a warm-up and a decay that together are longer than the run."""
    warmup = warmup_steps(steps, settings, step_tokens)
    decay = decay_steps(steps, settings, step_tokens) if settings.schedule == "wsd" else 0
    given = settings.warmup_steps or settings.warmup_tokens or settings.decay_steps or settings.decay_tokens
    if given and settings.schedule != "decay" and warmup + decay > steps:  # fractions round up by a step
        raise UsageError(
            f"the warm-up takes {warmup:,} steps and the decay {decay:,}, the run has {steps:,}",
            hint="shorten optimizer.warmup_steps or decay_steps, or raise steps",
        )
