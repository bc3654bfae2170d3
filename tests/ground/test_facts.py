"""Facts of tasks and steps are typed values in the JSON of records and manifests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gristmill.errors import IntegrityError
from gristmill.facts import Counts, Facts, StepFacts
from gristmill.manifest import TaskRecord


@dataclass(frozen=True, slots=True)
class Lines(Counts):
    lines: int = 0
    blank: int = 0


@dataclass(frozen=True, slots=True)
class Longest(Facts):
    longest: str
    place: int | None = None


def test_what_a_task_states_is_read_back_from_its_record() -> None:
    record = TaskRecord("count", "00000")
    record.state(Lines(7, 2), Longest("aa"))
    assert record.body()["counts"] == {"blank": 2, "lines": 7}
    assert record.body()["extra"] == {"longest": "aa"}  # None is not written
    assert record.stated(Lines) == Lines(7, 2)
    assert record.stated(Longest) == Longest("aa", None)


def test_counts_add_up_and_a_lost_task_counts_nothing() -> None:
    one, lost = TaskRecord("count", "00000"), TaskRecord.lost("count", "00001")
    one.state(Lines(7, 2))
    assert Lines.total([one, lost, one]) == Lines(14, 4)
    assert Lines.total([]) == Lines(0, 0)


def test_a_fact_that_is_absent_is_named() -> None:
    with pytest.raises(IntegrityError, match=r"`Longest` needs.*longest"):
        TaskRecord("count", "00000").stated(Longest)


def test_a_step_states_only_what_it_has_to_say() -> None:
    assert StepFacts().as_json() == {}
    assert StepFacts(notes=["seen"], warnings=[]).as_json() == {"notes": ["seen"], "warnings": []}
