"""Which rules removed documents failed, as columns: for decisions, removed rows and counts alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import REMOVAL_FIELDS
from gristmill.filters.rules import Verdict

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Failures:
    """Every rule that each removed document failed in the pass that removes it.

    `rows` are the removed documents in order, `passes` the pass of each. Its rules are
    `rules[ends[i]:ends[i + 1]]`, numbered over all passes.
    """

    num_documents: int
    rows: Int64s
    passes: Int64s
    ends: Int64s
    rules: Int64s

    @property
    def firsts(self) -> Int64s:
        """The first rule that each removed document failed."""
        return self.rules[self.ends[:-1]]

    def listed(self, numbers: npt.NDArray[Any]) -> pa.ListArray:
        """Return for every document, removed or not, what `numbers` calls the rules that it failed."""
        counts = np.zeros(self.num_documents, np.int64)
        counts[self.rows] = np.diff(self.ends)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(numbers[self.rules]))

    def named(self, names: Sequence[str], details: Mapping[int, Sequence[str | None]]) -> pa.StringArray:
        """Return the name of each failed rule; `details` of a rule, by document, are joined to it."""
        if not details:
            return pa.array(names, pa.string()).take(pa.array(self.rules))
        rows = np.repeat(self.rows, np.diff(self.ends)).tolist()
        spelled = []
        for row, rule in zip(rows, self.rules.tolist(), strict=True):
            detail = details[rule][row] if rule in details else None
            spelled.append(f"{names[rule]}.{detail}" if detail else names[rule])
        return pa.array(spelled, pa.string())

    def removal(self, verdicts: Sequence[Verdict], named: pa.StringArray) -> list[pa.Array]:
        """Return the columns that removed documents carry: first rule, value, bound, all rules."""
        values, sides = np.zeros(len(self.rows)), np.zeros(len(self.rows))
        base = 0
        for number, verdict in enumerate(verdicts):
            mine = np.flatnonzero(self.passes == number)
            place = (self.firsts[mine] - base, self.rows[mine])
            values[mine], sides[mine] = verdict.values[place], verdict.sides[place]
            base += len(verdict.failed)
        lists = pa.ListArray.from_arrays(pa.array(self.ends.astype(np.int32)), named)
        columns = (named.take(pa.array(self.ends[:-1])), pa.array(values), pa.array(sides), lists)
        return [column.cast(field.type) for column, field in zip(columns, REMOVAL_FIELDS, strict=True)]

    def counts(self, named: pa.StringArray) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many documents failed each rule first, and at all."""
        return _counted(named.take(pa.array(self.ends[:-1]))), _counted(named)


def find_failures(verdicts: Sequence[Verdict], removed_by: npt.NDArray[Any]) -> Failures:
    """Gather the failed rules of each document that a pass removes."""
    rows, rules, base = [], [], 0
    for number, verdict in enumerate(verdicts):
        mine = np.flatnonzero(removed_by == number)
        at, index = np.nonzero(verdict.failed[:, mine].T)
        rows.append(mine[at])
        rules.append(index + base)
        base += len(verdict.failed)
    every, failed = (
        np.concatenate([np.empty(0, np.int64), *rows]),
        np.concatenate([np.empty(0, np.int64), *rules]),
    )
    order = np.argsort(every, kind="stable")
    removed, counts = np.unique(every, return_counts=True)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return Failures(len(removed_by), removed, np.asarray(removed_by)[removed], ends, failed[order])


def _counted(named: pa.StringArray) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in pc.value_counts(named).to_pylist()}
