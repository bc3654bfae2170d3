"""The checkpoints of a run that trains: where it begins or goes on, what it saves, and what it says of a
change."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from gristmill.trainer.checkpoints.branch import fork
from gristmill.trainer.checkpoints.checkpoint import Checkpoints, Meta, load
from gristmill.trainer.checkpoints.resume import (
    branch_command,
    changes,
    held_by,
    rate_jump,
    refuse_other,
    spell_average,
)
from gristmill.trainer.config import Settings
from gristmill.trainer.data.course import Course
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.evaluation.tokenizer import copy_tokenizer
from gristmill.trainer.logs.log import Log
from gristmill.trainer.model.shape import ModelConfig
from gristmill.trainer.optimize.optimizer import Optimizer
from gristmill.trainer.optimize.spikes import SpikeFilter
from gristmill.trainer.ranks.parallel import Group


class Keeper:
    """Load and save one run; `trunk` is where a branch left another run, {} for a run of its own."""

    def __init__(self, settings: Settings, group: Group, shards: ShardSet, config: ModelConfig) -> None:
        self.settings, self.group, self.shards, self.config = settings, group, shards, config
        self.folder = Path(settings.run)
        background = settings.async_save and group.device.type == "cuda"
        self.checkpoints = Checkpoints(self.folder, group, background)
        self.newest = self.checkpoints.newest() if settings.resume else None
        self.trunk: dict[str, Any] = {}
        if self.newest is not None:
            self.trunk = Meta.read(self.newest).trunk  # the run it branched off may be gone by now
        elif settings.branch:
            self.trunk = fork(settings, config, shards.sha256)
        self.saved = (-1, False)  # the step, and whether for good
        self._changed: dict[str, list[Any]] = {}
        self._jump: tuple[float, float] | None = None

    @property
    def is_new(self) -> bool:
        """Whether weights come from nothing that was trained here: they are to be drawn, or read."""
        return self.newest is None and not self.trunk

    def resume(self, course: Course, optimizer: Optimizer, spikes: SpikeFilter) -> int:
        """Load weights, moments and the spike window, of the trunk where a branch begins; return the step."""
        self.course, self.optimizer, self.spikes = course, optimizer, spikes
        if self.newest is None:
            if self.trunk:  # what is a spike is another question on other data
                self._load(Path(self.trunk["checkpoint"]), ("spikes.",))
            return 0
        meta, steps = Meta.read(self.newest), course.steps
        refuse_other(meta, self.config, self.shards.sha256, self.settings, steps, self.newest)
        self._changed = changes(meta, self.settings, steps)
        self._jump = rate_jump(meta, self.settings, steps)
        self.saved = (meta.step, meta.permanent)
        # a history of another length begins anew
        self._load(self.newest, ("spikes.history", "spikes.seen") if "spike_window" in self._changed else ())
        return meta.step

    def say_origin(self, step: int, log: Log) -> None:
        """Tell where the run comes from and what this command changes in it, on stderr and in the log."""
        if self.trunk:
            rate = self.settings.optimizer.lr * self.trunk["begin"]
            log.say(f"train: a branch of {self.trunk['checkpoint']}, whose learning rate was {rate:.3g}")
        if not self._changed:
            return
        what = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in self._changed.items())
        log.say(f"train: continued from step {step} with {what}")
        if average := self._changed.get("optimizer.ema_decay"):
            log.say(f"train: {spell_average(average[0], average[1], step)}")
        log.resumed(step=step, changed=self._changed)
        if self._jump is not None:
            old, new = self._jump
            checkpoint = self.folder / "checkpoints" / f"step-{step:08d}"
            log.say(
                f"train: the learning rate goes from {old:.3g} at step {step} to {new:.3g}: the schedule"
                " is another. To anneal from a checkpoint before a decay, or keep this run as it is, branch:"
                f" {branch_command(checkpoint, '@STEP')}"
            )

    def has(self, step: int, permanent: bool) -> bool:
        """Say whether a step is saved, and for good where that is asked."""
        return self.saved[0] == step and self.saved[1] >= permanent

    def save(self, step: int, permanent: bool) -> None:
        """Save a step, with the tokenizer beside it; on CUDA without waiting for the disk."""
        course = self.course
        meta = Meta(
            step, course.sample(step), course.tokens(step), self.config, self.shards.sha256,
            str(self.shards.folder), self.settings.seed, self.shards.eos_id, permanent,
            course.steps, dataclasses.asdict(self.settings), self.trunk,
        )  # fmt: skip
        tokenizer = self.shards.tokenizer()
        if tokenizer is not None and self.group.rank == 0:
            copy_tokenizer(tokenizer, self.shards.reading, self.folder)
        if self.saved[0] == step and not self._changed:
            self.checkpoints.promote(meta)  # the tensors are there: at no moment is a step's only copy gone
        else:
            self.checkpoints.save(self._state(), meta, self.settings.keep)
        self.saved = (step, permanent)

    def _load(self, folder: Path, but: tuple[str, ...]) -> None:
        state = held_by(Meta.read(folder), self._state(), but)
        load(folder, state, self.group, self.checkpoints.own)

    def _state(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds. Weights are those the optimizer updates, fp32 and sharded: what
        the model shows as its own may be a gathered copy in the type of the computation."""
        parts: dict[str, dict[str, Any]] = {
            "model": self.optimizer.parameters,
            "optimizer": self.optimizer.state,
            "spikes": self.spikes.state,
        }
        return {f"{part}.{name}": tensor for part, held in parts.items() for name, tensor in held.items()}
