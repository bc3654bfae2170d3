"""What a task or a step states of itself, as typed values in the JSON objects of its record or manifest.

    @dataclass(frozen=True, slots=True)
    class Keyed(Counts):
        keys: int = 0

    task.record.state(Keyed(keys=12))               # in a task
    Keyed.total(records).keys                       # in the driver, over all of a phase

Names of fields are the names in the JSON, so that a reader without this code finds its way, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from gristmill.errors import IntegrityError

if TYPE_CHECKING:
    from gristmill.manifest import TaskRecord


@dataclass(frozen=True, slots=True)
class Facts:
    """Values of JSON's types; one that is None is not written, and reads as its default."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read them from among others; raises IntegrityError where one without a default is absent."""
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        try:
            return cls(**known)
        except TypeError as error:
            raise IntegrityError(
                f"a record does not state what `{cls.__name__}` needs: {error}",
                hint="it may be of another release: run the step again",
            ) from error

    def as_json(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Counts(Facts):
    """Whole numbers that add up over tasks; a task that was lost counts nothing."""

    @classmethod
    def total(cls, records: Iterable[TaskRecord]) -> Self:
        """Add up what all tasks of a phase counted."""
        stated = [record.stated(cls) for record in records]
        return cls(**{each.name: sum(getattr(one, each.name) for one in stated) for each in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts(Facts):
    """What any step may state of itself beside its own: `notes` and `warnings` are shown on the terminal and
    the page, `replaced_files` are not part of its output, `timing` differs from run to run."""

    notes: list[str] | None = None
    warnings: list[str] | None = None
    replaced_files: list[str] | None = None
    timing: dict[str, float] | None = None
