"""What may change when a run continues from a checkpoint, what is said of it, and what is refused by name.

A run's checkpoint holds the settings it was trained with. What decides the order of its data or the meaning
of its numbers (model, shards, seed, batch, packing, masks, optimizer) cannot change inside one run: that is
what a branch is for. A rate, a schedule or a length may, and is said.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.trainer.checkpoints.checkpoint import Meta
from gristmill.trainer.checkpoints.tensors import State
from gristmill.trainer.config import OptimizerSettings, Settings
from gristmill.trainer.fields import from_dict
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.schedule import lr_factor

FIXED = (
    "branch",
    "batch",
    "data.packing",
    "data.shuffle_shards",
    "data.document_mask",
    "optimizer.name",
    "optimizer.mup_base_width",
)
# These change what the numbers of a log mean or how the model goes on, so they are said.
SAID = ("optimizer", "loss", "steps", "dtype", "float8", "heldout", "eval_tokens", "spike_window", "tasks")
SAID_TOO = ("spike_sigmas", "max_skipped", "float8_scales", "attention", "deterministic")


def refuse_other(
    meta: Meta, model: ModelConfig, shards_sha256: str, settings: Settings, steps: int, where: Path
) -> None:
    """Refuse to continue a checkpoint with another model, shard set or order of data, or for fewer steps than
    it has."""
    hint = f"use another run folder, or branch: {branch_command(where)}"
    for name in dataclasses.fields(ModelConfig):
        had, has = getattr(meta.model, name.name), getattr(model, name.name)
        if had != has:
            raise UsageError(
                f"the checkpoint holds a model with {name.name} {had}, this run asks for {has}",
                where=str(where), hint="use another run folder, or the model the run began with",
            )  # fmt: skip
    if meta.shards_sha256 != shards_sha256:
        raise UsageError(
            f"the checkpoint was trained on the shards {meta.shards} ({meta.shards_sha256[:12]}), "
            f"this run reads {settings.shards} ({shards_sha256[:12]})",
            where=str(where), hint=hint,
        )  # fmt: skip
    if meta.seed != settings.seed:
        raise UsageError(
            f"the checkpoint's data order has seed {meta.seed}, this run has {settings.seed}",
            where=str(where), hint=hint,
        )  # fmt: skip
    had_all, has_all = flat(meta.settings), flat(dataclasses.asdict(settings))
    for key in FIXED:
        if key in had_all and had_all[key] != has_all[key]:
            raise UsageError(
                f"the run was begun with `{key}` {had_all[key]!r}, this command asks for {has_all[key]!r}",
                where=str(where), hint=hint,
            )  # fmt: skip
    if steps < meta.step:
        raise UsageError(
            f"the run has trained {meta.step:,} steps, `steps` is {steps:,}",
            where=str(where),
            hint=f"ask for at least {meta.step:,} steps, or branch from an earlier checkpoint:"
            f" {branch_command(where, '@STEP')}",
        )


def changes(meta: Meta, settings: Settings, steps: int) -> dict[str, list[Any]]:
    """Return what is said: each changed setting with its value before and now."""
    had, has = flat(meta.settings) | {"steps": meta.steps}, flat(dataclasses.asdict(settings))
    has["steps"] = steps
    return {
        key: [had[key], has[key]]
        for key in sorted(had)
        if key.partition(".")[0] in (*SAID, *SAID_TOO) and key in has and had[key] != has[key]
    }


def rate_jump(meta: Meta, settings: Settings, steps: int) -> tuple[float, float] | None:
    """Return the learning rate of the last step and of the next, if the next would have been another."""
    if not meta.settings or not meta.steps:
        return None
    before = from_dict(OptimizerSettings, meta.settings["optimizer"])
    step_tokens = settings.batch * meta.model.context

    def rate(step: int, of: OptimizerSettings, total: int) -> float:
        return of.lr * lr_factor(step, total, of, step_tokens, meta.trunk.get("begin"))

    planned, now = rate(meta.step, before, meta.steps), rate(meta.step, settings.optimizer, steps)
    if abs(planned - now) <= 0.01 * before.lr:
        return None
    return rate(max(0, meta.step - 1), before, meta.steps), now


def held_by(meta: Meta, state: State, but: tuple[str, ...] = ()) -> State:
    """Return what of a run's state a checkpoint is asked for: all `but` what begins so, and no average of
    weights where that run kept none."""
    kept = meta.settings.get("optimizer", {}).get("ema_decay")
    but = but if kept else (*but, "optimizer.ema.", "optimizer.ema_weight")
    return {name: tensor for name, tensor in state.items() if not name.startswith(but)}


def spell_average(before: float, now: float, step: int) -> str:
    """Say what becomes of the exponential average when its decay changes: it is kept as a sum with its
    weight, so it goes on with another decay."""
    if not now:
        return "no average of weights is kept from here on"
    if not before:
        return f"the average of weights begins anew with what follows step {step:,}"
    return f"the average of weights goes on from the one at step {step:,}, with decay {now}"


def branch_command(checkpoint: Path, at: str = "") -> str:
    """Return the command that starts a run of its own from a checkpoint."""
    run = checkpoint.parent.parent
    return f"gristmill train --from {run}{at or '@' + str(int(checkpoint.name[5:]))} --out NEW --set …"


def flat(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    """Return nested settings as `a.b` -> value; tuples as lists, as JSON gives them back."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{at}{key}.")
        else:
            found[at + key] = list(value) if isinstance(value, tuple) else value
    return found
