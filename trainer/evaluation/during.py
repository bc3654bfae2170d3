"""What is scored while a model trains: held-out shards and files of tasks, before, now and then, after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gristmill.errors import UsageError
from gristmill.trainer.config import Settings
from gristmill.trainer.data.course import Course
from gristmill.trainer.data.remote import open_shards
from gristmill.trainer.data.shards import ShardSet
from gristmill.trainer.evaluation.evaluate import Scorer
from gristmill.trainer.evaluation.heldout import HeldOut
from gristmill.trainer.evaluation.tasks import open_tasks, spell_task
from gristmill.trainer.logs.log import Log
from gristmill.trainer.logs.meter import Meter
from gristmill.trainer.logs.summary import by_step
from gristmill.trainer.model.forward import Forward
from gristmill.trainer.ranks.parallel import Group, is_compiled, reshard


class Evaluations:
    """The texts a run is scored on, read before it begins: what cannot be scored ends it at once."""

    def __init__(self, settings: Settings, shards: ShardSet, context: int, group: Group) -> None:
        self.settings, self.group = settings, group
        self.heldout: HeldOut | None = None
        if settings.heldout:
            heldout = open_shards(settings.heldout, settings.data, Path(settings.run))
            if heldout.num_tokens:
                _refuse_other_tokenizer(shards, heldout)
                self.heldout = HeldOut(heldout, context, settings.eval_tokens)
        self.tasks = open_tasks(settings.tasks, shards)

    def due(self, step: int, steps: int, log: Log) -> bool:
        """Say whether a step is to be scored and the log lacks some of its rows; all ranks agree."""
        every = self.settings.eval_every
        due = step in (0, steps) or (every > 0 and step % every == 0)
        lacks = self.heldout is not None and step not in by_step(log, "eval")
        lacks = lacks or (bool(self.tasks) and step not in by_step(log, "task"))
        return due and self.group.any(lacks and self.group.rank == 0)

    def score(
        self, step: int, course: Course, forward: Forward, log: Log, meter: Meter, stop: Callable[[], bool]
    ) -> bool:
        """Score all and log it; False: `stop`, which all ranks ask now and then, said so, and what was not
        done is to be done again."""
        if self.heldout is not None:
            with meter.pause():
                rows = self.heldout.evaluate(forward, course.micro, self.group, stop)
                reshard(forward.module)
            if rows is None:
                return False
            for row in rows:
                log.evaluation(step=step, **row)
            last = rows[-1]
            bits = last["bits_per_byte"]
            per_byte = "" if bits is None else f", {bits:.4f} bits per byte"
            log.say(
                f"held-out at step {step}: loss {last['loss']:.4f}{per_byte} over {last['bytes']:,} bytes"
            )
        return self._score_tasks(step, course, forward, log, meter, stop)

    def _score_tasks(
        self, step: int, course: Course, forward: Forward, log: Log, meter: Meter, stop: Callable[[], bool]
    ) -> bool:
        # what is compiled gets batches of one shape
        compiled = is_compiled(self.settings, self.group)
        shape = (course.micro, course.context) if compiled else None
        scorer = Scorer(forward.targets, course.context, self.group, shape)
        found = []
        for task in self.tasks:
            if stop():
                return False
            with meter.pause():
                found += task.score(scorer)
                reshard(forward.module)
        for row in found:
            log.task(step=step, **row)
        if found:
            log.say(f"tasks at step {step}: {'; '.join(map(spell_task, found))}")
        return True


def _refuse_other_tokenizer(shards: ShardSet, heldout: ShardSet) -> None:
    if (shards.vocab, shards.eos_id, shards.tokenizer_sha256) != (
        heldout.vocab,
        heldout.eos_id,
        heldout.tokenizer_sha256,
    ):
        raise UsageError(
            "the held-out shards were written with another tokenizer than the training shards",
            where=str(heldout.folder), hint="encode both with one tokenizer",
        )  # fmt: skip
