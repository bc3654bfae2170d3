"""Every error a user can meet, as one tree.

GristmillError             a person reads it: what failed, on what, value and bound, what to do
  UsageError               the command line or a path is wrong           (exit 2)
    RecipeError            a recipe value is wrong: names file and line  (exit 2)
  InputError               an input cannot be read at all                (exit 1)
    RefusedError           it will not be had by asking again            (exit 1)
  StorageRefused           the output storage refuses what a run needs   (exit 1)
  DamageError              part of an input is broken: file and offset   (counted, not fatal)
  StaleError               a file the run was planned with changed         (exit 1)
  IntegrityError           bytes differ from what a manifest promised    (exit 1)
  IncompleteError          an output lacks steps that were asked for     (exit 1)
  BooksError               documents or bytes went missing in a step     (exit 1)
  LockedError              another run holds the output folder           (exit 1)
  StepFailed               a step ended with quarantined shards          (exit 1)
  EngineError              Ray did not start, or was not found       (exit 1)
  Interrupted              a signal stopped the run; it can be resumed   (exit 130, 143)
"""

from __future__ import annotations


class GristmillError(Exception):
    """Say what failed, where, and what to do next.

    `where` is a place such as `recipes/web.yaml:14` or `crawl.warc.gz@1024`; `hint` is given only when it is
    actionable.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  --> {self.where}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive pickling otherwise, and workers send these
        # home.
        return _rebuild, (type(self), self.message, self.where, self.hint)


def _rebuild(kind: type[GristmillError], message: str, where: str | None, hint: str | None) -> GristmillError:
    return kind(message, where=where, hint=hint)


class UsageError(GristmillError):
    exit_code = 2


class RecipeError(UsageError):
    pass


class InputError(GristmillError):
    pass


class RefusedError(InputError):
    """An input that will not be had by asking again: a task that meets it is not tried again."""


class StorageRefused(GristmillError):
    """The output storage refuses a request for good: the run ends."""


class DamageError(GristmillError):
    pass


class IntegrityError(GristmillError):
    pass


class StaleError(GristmillError):
    """A run must stop: it would be made of something else than what it was planned with."""


class IncompleteError(GristmillError):
    """An output lacks steps or tasks, and nobody asked for what is there."""


class BooksError(GristmillError):
    pass


class LockedError(GristmillError):
    pass


class StepFailed(GristmillError):
    pass


class EngineError(GristmillError):
    pass


class Interrupted(GristmillError):
    exit_code = 130
