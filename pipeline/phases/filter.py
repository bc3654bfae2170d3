"""Measure documents, decide by rules, edit texts: one task per file of documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.document import text_bytes
from gristmill.files.storage import cut_by_bytes, read_tables
from gristmill.filters.passes import FilterOutcome, Filters, compile_filters
from gristmill.pipeline.phases.adopt import extra_fields, extra_fields_of
from gristmill.pipeline.phases.rule_histograms import CutObserver
from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.pipeline.run.onward import RowWise
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.stages.filter import FilterFacts, FilterSlice

_TABLE_BYTES = 64 << 20  # of text decided at once: a group of rows may hold thousands of books


def filter_documents(job: Job[FilterSlice]) -> Stage:
    piece = job.settings
    yield over_paths("filter", filter_file, job.shards(piece.source), may_lose=True)
    return described(compile_filters(piece.filter, job.seed))


def as_they_come(_: Job[FilterSlice]) -> RowWise:
    """How documents are filtered in the tasks of the step before."""
    return RowWise(open_filter, ("filter",))


def described(filters: Filters) -> FilterFacts:
    """Say in a manifest what the numbers in decisions mean, how signals are judged and which version of the
    text edits are of."""
    versions = {
        name: part.version for part in filters.passes for block in part.blocks for name in block.edits
    }
    return FilterFacts(list(filters.rules), [*bounds(filters)], versions)


def bounds(filters: Filters) -> Iterator[dict[str, Any]]:
    """Spell every rule with the signal columns it divides, so that a reader of signals needs no kernel to
    judge them."""
    for part in filters.passes:
        for block in part.blocks:
            for rule in block.rules:
                columns = {
                    "signal": part.column(block, rule.signal),
                    "per": rule.per and part.column(block, rule.per),
                }
                applies = part.column(block, "applies") if block.languages is not None else None
                told = {
                    "rule": rule.name,
                    **columns,
                    "applies": applies,
                    **asdict(rule.bound),
                    "source": rule.source,
                }
                others = {
                    code: asdict(own[rule.name])
                    for code, own in block.by_language.items()
                    if rule.name in own
                }
                if others:
                    told |= {"by_language": others, "language": part.column(block, block.spoken)}
                yield told


def filter_file(task: Attempt[FilterSlice], path: str) -> None:
    """Filter one file; decisions and signals keep a row for every document, kept or removed."""
    work = FilterWork(task, extra_fields(Path(path)))
    for group in read_tables(Path(path)):
        work.add(group)
    work.publish()


def open_filter(attempts: Mapping[str, Attempt[FilterSlice]], schema: pa.Schema) -> FilterWork:
    return FilterWork(attempts["filter"], extra_fields_of(schema))


class FilterWork:
    """The filtering of one shard, group of rows by group of rows; `extra` are the columns that its documents
    carry beside the contract's."""

    def __init__(self, task: Attempt[FilterSlice], extra: Sequence[pa.Field]) -> None:
        self._filters = compile_filters(task.settings.filter, task.seed)
        self._outcomes = FilterOutcomes(task, self._filters, extra, task.settings.source)
        self._row = 0

    def add(self, documents: pa.Table) -> None:
        for table in cut_by_bytes(documents, _TABLE_BYTES):
            self._outcomes.add(table, self._filters.apply(table, first_row=self._row))
            self._row += table.num_rows

    def publish(self) -> None:
        self._outcomes.publish()


class FilterOutcomes:
    """What a task leaves behind that decides by rules: documents, decisions, signals, and what lies near the
    cuts. A file without documents has no decisions and no signals."""

    def __init__(
        self,
        task: Attempt[Any],
        filters: Filters,
        extra: Sequence[pa.Field],
        source: str,
        *,
        by_url: bool = False,
    ) -> None:
        self.task = task
        self.outcomes = Outcomes(task, source, extra, by_url=by_url)
        self.cuts = CutObserver(filters, filters.seed)

    def add(self, documents: pa.Table, outcome: FilterOutcome) -> None:
        """Write what became of a table of documents, given as they came in."""
        edited = {name: outcome.counts[name] for name in ("deleted_bytes", "inserted_bytes")}
        read = (documents.num_rows, text_bytes(documents))
        self.outcomes.take(read, outcome.kept, outcome.removed, **edited)
        self.outcomes.note("decisions", outcome.decisions)
        self.outcomes.note("signals", outcome.signals)
        self.cuts.see(documents, outcome)

    def publish(self) -> None:
        self.outcomes.publish()
        self.cuts.into(self.task.record)
