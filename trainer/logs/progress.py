"""What is told of a run step by step, and what it came to at the end.

Losses stay on the device until a row of the log is due: reading one waits for all that comes before it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gristmill.trainer.config import Settings
from gristmill.trainer.data.balance import balance
from gristmill.trainer.data.course import Course
from gristmill.trainer.data.documents import documents
from gristmill.trainer.data.loader import BatchLoader
from gristmill.trainer.logs.log import Log
from gristmill.trainer.logs.meter import Meter, give_up, spell_row
from gristmill.trainer.logs.summary import of_log
from gristmill.trainer.model.decoder import Model, flops_per_token, num_parameters
from gristmill.trainer.model.memory import peak_memory
from gristmill.trainer.optimize.spikes import SpikeFilter
from gristmill.trainer.ranks.parallel import Group


class StepResult(NamedTuple):
    """What a step came to: tensors on the device (loss, gradient norm, whether it was taken), and numbers."""

    loss: Tensor
    norm: Tensor
    taken: Tensor
    lr: float
    num_targets: int
    started: float  # seconds of perf_counter


class Progress:
    """Write the rows of steps and of skipped ones, and the summary."""

    def __init__(
        self,
        settings: Settings,
        group: Group,
        model: Model,
        loader: BatchLoader,
        course: Course,
        spikes: SpikeFilter,
        log: Log,
        meter: Meter,
    ) -> None:
        self.settings, self.group, self.model = settings, group, model
        self.loader, self.course, self.spikes, self.log, self.meter = loader, course, spikes, log, meter
        self._last: StepResult | None = None
        self._judged: list[tuple[int, Tensor]] = []

    def note(self, step: int, result: StepResult) -> None:
        """Remember a step without waiting for the device."""
        self._last = result
        self._judged.append((step, torch.stack([result.taken, result.loss.float(), result.norm.float()])))

    def log_step(self, step: int) -> None:
        """Log the last step and tell it; raises StepFailed where too many in a row were skipped."""
        self.log_skipped()
        assert self._last is not None
        last, course = self._last, self.course
        loss, norm = float(last.loss), float(last.norm)  # waits for the device: the clock is read after
        tokens = course.tokens(step)
        speed = self.meter.speed(tokens, last.started, last.num_targets)
        skipped, in_a_row = (int(self.spikes.state[key]) for key in ("skipped", "skipped_in_a_row"))
        row = dict(
            step=step, steps=course.steps, tokens=tokens, loss=loss, lr=last.lr, grad_norm=norm,
            tokens_per_s=speed, skipped=skipped,
            seconds_to_go=(course.steps - step) * course.step_tokens / max(1e-9, speed),
            mfu=self.meter.mfu(speed, flops_per_token(self.model)),
            memory_bytes=peak_memory(self.group.device),
            epoch=course.sample(step) / self.loader.num_samples,
        )  # fmt: skip
        self.log.step(**row)
        self.log.say(spell_row(row), live=True)
        if in_a_row >= self.settings.max_skipped:
            raise give_up(in_a_row, row, self.settings.run)

    def log_skipped(self) -> None:
        """Name the documents of the steps skipped since the last log row or save."""
        judged, self._judged = self._judged, []
        if self.group.rank or not judged:
            return
        values = torch.stack([row for _, row in judged]).tolist()  # waits for the device
        for (step, _), (taken, loss, norm) in zip(judged, values, strict=True):
            if not taken:
                read = documents(self.loader, self.course.sample(step - 1), self.course.batch)
                self.log.skipped(step, loss, norm, [found.name for found in read])

    def summary(self, step: int, steps_done: int, seconds: float) -> dict[str, Any]:
        """Return what the run came to: speed without evaluations and saves, and every token accounted for,
        those of the trunk too."""
        course, log = self.course, self.log
        speed = steps_done * course.step_tokens / max(1e-9, seconds - self.meter.paused_in_all)
        skipped = [course.sample(row["step"] - 1) for row in log.rows("skip")]
        missed = sum(self.loader.num_targets(first, course.batch) for first in skipped)
        return {
            "parameters": num_parameters(self.model), "steps": step, "tokens": course.tokens(step),
            "training_seconds": seconds, "tokens_per_s": speed,
            **of_log(log, step), "skipped": int(self.spikes.state["skipped"]),
            "balance": balance(self.loader, course.sample(step), missed).as_json(),
            "model": dataclasses.asdict(self.model.config), "device": str(self.group.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }  # fmt: skip
