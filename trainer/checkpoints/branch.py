"""Branches: a run of its own that begins with the weights and moments of another run's checkpoint.

    gristmill train --from runs/a@4000 --out runs/b --set schedule=decay --set steps=500

The trunk goes on or stays as it is, and gives as many branches as one likes: the usual way to anneal a run of
constant rate on better data, at several lengths (Hu et al. 2024, Hagele et al. 2024). A branch takes over
every setting of its trunk but those it is given; it counts its own steps from 0, and the tokens of both. On
the trunk's own shards it goes on where the trunk stood; on others it begins at their start.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from gristmill.errors import UsageError
from gristmill.trainer.checkpoints.checkpoint import Meta, find
from gristmill.trainer.config import OptimizerSettings, Settings
from gristmill.trainer.fields import from_dict
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.schedule import decay_steps, lr_factor

OWN = ("run", "branch", "init", "resume", "steps", "model")  # what a branch does not take as it was said
ORDER = ("data.packing", "data.shuffle_shards")  # with seed and context: where a position in the data lies
FREE = ("context", "rope_theta", "rope_scaling", "balance_weight", "router_z_weight")


def with_trunk(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a branch: its trunk's, with those given in place of them; of other runs as they
    are."""
    if not values.get("branch"):
        return values
    if (begun := _begun(values)) is not None:  # its trunk may be gone by now
        return _merged(begun, values)
    folder = find(Path(values["branch"]))
    if folder.parent.parent.resolve() == Path(values.get("run") or "").resolve():
        raise UsageError(
            "a branch needs a run folder of its own", where=str(values["run"]), hint="name another with --out"
        )
    meta = Meta.read(folder)
    taken = {key: value for key, value in meta.settings.items() if key not in OWN}
    if "preset" not in (values.get("model") or {}):  # a shape by name is compared as a whole
        taken["model"] = dataclasses.asdict(meta.model)
    merged = _merged(taken, values)
    if not merged.get("steps"):
        merged["steps"] = _usual_steps(meta, Settings.from_dict(merged))
    return merged


def _begun(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return the settings of the branch's own newest checkpoint, if it has one."""
    run = Path(values.get("run") or "")
    if not values.get("resume", True) or not (run / "checkpoints" / "latest").is_file():
        return None
    meta = Meta.read(find(run))
    own = meta.settings | {"model": dataclasses.asdict(meta.model), "steps": meta.steps}
    return own if own["branch"] == values["branch"] else None


def fork(settings: Settings, config: ModelConfig, sha256: str) -> dict[str, Any]:
    """Return what a branch keeps of its trunk: where it began, at which rate, and where in the data.

    A model of another shape or an optimizer of another kind is refused by name.
    """
    folder = find(Path(settings.branch))
    meta = Meta.read(folder)
    for field in dataclasses.fields(ModelConfig):
        had, has = getattr(meta.model, field.name), getattr(config, field.name)
        if had != has and field.name not in FREE:
            raise UsageError(
                f"the trunk's model has {field.name} {had}, the branch asks for {has}", where=str(folder)
            )
    trunk = from_dict(OptimizerSettings, meta.settings["optimizer"])
    if trunk.name != settings.optimizer.name:
        raise UsageError(
            f"the trunk was trained with {trunk.name}, the branch asks for {settings.optimizer.name}: its"
            " moments would mean nothing",
            where=str(folder),
        )
    had, has = trunk.mup_base_width, settings.optimizer.mup_base_width
    if had != has:
        raise UsageError(
            f"the trunk was trained with mup_base_width {had}, the branch asks for {has}",
            where=str(folder), hint="leave it out: a branch takes its trunk's",
        )  # fmt: skip
    return {
        "checkpoint": str(folder),
        "step": meta.step,
        "tokens": meta.tokens,
        "begin": _begin(meta, trunk, settings),
        "first_sample": meta.samples if _same_order(meta, settings, config, sha256) else 0,
    }


def _begin(meta: Meta, trunk: OptimizerSettings, settings: Settings) -> float:
    """Return the factor of the branch's rate that equals the trunk's at that step."""
    step_tokens = meta.settings["batch"] * meta.model.context
    factor = lr_factor(meta.step, meta.steps, trunk, step_tokens, meta.trunk.get("begin"))
    if settings.optimizer.lr != trunk.lr and settings.optimizer.schedule == "decay":
        return 1.0  # a rate of its own: it falls from there
    if factor == 0 and settings.optimizer.schedule == "decay":
        raise UsageError(
            f"the trunk's learning rate has come to 0 at step {meta.step:,}: there is nothing to decay",
            where=settings.branch,
            hint="branch from a checkpoint before its own decay, or name optimizer.lr",
        )
    return factor * trunk.lr / settings.optimizer.lr


def _same_order(meta: Meta, settings: Settings, config: ModelConfig, sha256: str) -> bool:
    had, has = meta.settings["data"], dataclasses.asdict(settings.data)
    order = all(had[key.partition(".")[2]] == has[key.partition(".")[2]] for key in ORDER)
    return (meta.shards_sha256, meta.seed, meta.model.context) == (
        sha256, settings.seed, config.context,
    ) and order  # fmt: skip


def _usual_steps(meta: Meta, settings: Settings) -> int:
    """Return the length of a branch that names none: WSD's decay after as many steps, or what the trunk had
    left."""
    if settings.optimizer.schedule != "decay":
        return max(0, meta.steps - meta.step)
    share = min(0.99, settings.optimizer.decay_fraction)
    total = max(1, math.ceil(meta.step / (1 - share)))
    return max(1, decay_steps(total, settings.optimizer, settings.batch * settings.model.context))


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key], value) if both else value
    return found
