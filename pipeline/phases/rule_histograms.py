"""What every rule saw on both sides of its cut: a histogram of kept and removed, and the documents nearest to
the bound."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.filters.passes import FilterOutcome, Filters
from gristmill.filters.rules import Bound, Rule
from gristmill.hashing import keyed_hash
from gristmill.manifest import TaskRecord

NEAREST = 4  # documents kept per rule and side in every shard's record
SNIPPET_CHARACTERS = 500
SIDES = ("kept", "removed")


class CutObserver:
    """Collect, over the tables of one task, where each rule's values lie; small enough for the task's record.

    "Kept" are documents that every rule let pass, "removed" those that any removed; near the cut, "removed"
    are those that failed the rule itself. The nearest of all shards are among the nearest of each, so that
    records merge.
    """

    def __init__(self, filters: Filters, seed: int) -> None:
        self.filters, self.seed = filters, seed
        self._counts: dict[str, tuple[Rule, npt.NDArray[np.int64]]] = {}
        self._nearest: dict[tuple[str, str], list[tuple[float, int, str, dict[str, Any]]]] = {}

    def see(self, documents: pa.Table, outcome: FilterOutcome) -> None:
        """Take note of a table of documents, as they came in, and of what the filters made of them."""
        if not documents.num_rows:
            return
        verdicts, kept = outcome.verdicts, outcome.removed_by < 0
        hashes = keyed_hash(self.seed, "sample", documents.column("id").combine_chunks())
        for part, verdict in zip(self.filters.passes, verdicts, strict=True):
            for index, rule in enumerate(part.rules):
                values, failed, applies = verdict.values[index], verdict.failed[index], verdict.applies[index]
                if rule.bins:
                    self._count(rule, values, kept & applies, ~kept & applies)
                distances = _distances(rule.bound, values)
                for side, mask in (("kept", kept & applies), ("removed", failed)):
                    self._sample(rule, side, documents, mask, values, distances, hashes)

    def into(self, record: TaskRecord) -> None:
        for name, (rule, counts) in self._counts.items():
            record.histograms[f"rule:{name}"] = {
                "bins": list(rule.bins),
                "cuts": list(limits(rule.bound)),
                **dict(zip(SIDES, counts.tolist(), strict=True)),
            }
        for (name, side), nearest in sorted(self._nearest.items()):
            record.samples[f"near:{name}:{side}"] = [sample for *_, sample in nearest]

    def _count(
        self,
        rule: Rule,
        values: npt.NDArray[np.float64],
        kept: npt.NDArray[np.bool_],
        removed: npt.NDArray[np.bool_],
    ) -> None:
        bins = rule.bins_of(values)
        counts = np.array([np.bincount(bins[mask], minlength=len(rule.bins) + 1) for mask in (kept, removed)])
        _, before = self._counts.get(rule.name, (rule, np.zeros_like(counts)))
        self._counts[rule.name] = (rule, before + counts)

    def _sample(
        self,
        rule: Rule,
        side: str,
        documents: pa.Table,
        mask: npt.NDArray[np.bool_],
        values: npt.NDArray[np.float64],
        distances: npt.NDArray[np.float64],
        hashes: npt.NDArray[np.uint64],
    ) -> None:
        before = self._nearest.get((rule.name, side), [])
        if len(before) == NEAREST:  # no row behind the last of enough comes in any more
            farthest, largest = before[-1][:2]
            near = distances < farthest
            near |= (distances == farthest) & (hashes <= np.uint64(largest))
        else:
            near = np.isfinite(distances)
        rows = np.flatnonzero(mask & near)
        if not len(rows):
            return
        order = rows[np.lexsort((hashes[rows], distances[rows]))][:NEAREST]
        fresh = [
            (
                float(distances[row]),
                int(hashes[row]),
                *_describe(documents, rule, float(values[row]), int(row)),
            )
            for row in order
        ]
        described = [
            (distance, hashed, id_, {"hash": hashed, "distance": distance, "id": id_, **sample})
            for distance, hashed, id_, sample in fresh
        ]
        self._nearest[rule.name, side] = heapq.nsmallest(
            NEAREST, [*before, *described], key=lambda entry: entry[:3]
        )


def limits(bound: Bound) -> Iterator[float]:
    """The cuts of a rule, lowest first."""
    yield from sorted(
        {value for value in (bound.min, bound.above, bound.max, bound.below) if value is not None}
    )


def _distances(bound: Bound, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each value lies from the nearest cut, infinite where the rule has none."""
    found = np.full(len(values), np.inf)
    for limit in limits(bound):
        found = np.minimum(found, np.abs(values - limit))
    return found


def _describe(documents: pa.Table, rule: Rule, value: float, row: int) -> tuple[str, dict[str, Any]]:
    text = documents.column("text")[row].as_py()
    nearest = min(limits(rule.bound), key=lambda limit: abs(value - limit))
    return documents.column("id")[row].as_py().hex(), {
        "url": documents.column("url")[row].as_py(),
        "rule": rule.name,
        "value": value,
        "bound": nearest,
        "text": None if text is None else text[:SNIPPET_CHARACTERS],
    }
