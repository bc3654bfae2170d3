"""Where each step of a run lies in its data: a pure function of the step's number."""

from __future__ import annotations

from dataclasses import dataclass

from gristmill.errors import UsageError
from gristmill.trainer.config import Settings
from gristmill.trainer.data.loader import BatchLoader


@dataclass(frozen=True)
class Course:
    """A run's length, and which samples and tokens its steps take; those of a trunk come before a branch's.

    Of each step's `batch` samples of `context` tokens a rank has `rows`, `micro` in one forward pass.
    """

    steps: int
    batch: int
    context: int
    rows: int
    micro: int
    first_sample: int = 0
    tokens_before: int = 0

    @classmethod
    def of(cls, settings: Settings, loader: BatchLoader, world: int, trunk: dict[str, int]) -> Course:
        """Lay out a run; without `steps` it is one pass over the shards.

        A batch that does not divide among the ranks, and a source that would be repeated beyond its cap, are
        refused.
        """
        if settings.batch % world:
            raise UsageError(
                f"`batch` {settings.batch} does not divide among {world} ranks",
                hint="make it a multiple of the ranks",
            )
        steps = settings.steps or max(1, loader.num_samples // settings.batch)
        rows = settings.batch // world
        micro = min(settings.micro_batch or rows, rows)
        before = (int(trunk.get("first_sample", 0)), int(trunk.get("tokens", 0)))
        course = cls(steps, settings.batch, loader.context, rows, micro, *before)
        loader.check_caps(course.sample(steps))
        return course

    @property
    def step_tokens(self) -> int:
        return self.batch * self.context

    def sample(self, step: int) -> int:
        """Return the number of the first sample that comes after so many steps."""
        return self.first_sample + step * self.batch

    def tokens(self, step: int) -> int:
        """Return the tokens the model has seen after so many steps."""
        return self.tokens_before + step * self.step_tokens
