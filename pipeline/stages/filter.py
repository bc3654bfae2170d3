"""Measure documents, decide by rules, edit texts: one task per file of documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.filters.passes import FilterOutcome, Filters, compile_filters
from gristmill.filters.settings import FilterSettings
from gristmill.ledger import Books
from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.pipeline.run.outcomes import DocumentOutputs, KeepRemoved
from gristmill.pipeline.stages.adopt import extra_fields, text_bytes
from gristmill.pipeline.stages.rule_histograms import CutObserver
from gristmill.storage import ParquetWriter, cut_by_bytes, read_tables

_TABLE_BYTES = 64 << 20  # of text decided at once: a group of rows may hold thousands of books


def filter_documents(job: Job) -> Stage:
    piece = job.settings
    common = {
        "source": piece.source,
        "settings": piece.filter,
        "seed": job.seed,
        "keep_removed": piece.keep_removed,
    }
    yield over_paths("filter", filter_file, job.paths("documents", piece.source), may_lose=True, **common)
    return described(compile_filters(piece.filter, job.seed))


def described(filters: Filters) -> dict[str, Any]:
    """Say in a manifest what the numbers in decisions mean, how signals are judged and which version of the
    text edits are of."""
    versions = {
        name: part.version for part in filters.passes for block in part.blocks for name in block.edits
    }
    return {"rules": list(filters.rules), "bounds": [*bounds(filters)], "edit_versions": versions}


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
                yield {
                    "rule": rule.name,
                    **columns,
                    "applies": applies,
                    **asdict(rule.bound),
                    "source": rule.source,
                }


def filter_file(
    task: Attempt, path: str, source: str, settings: FilterSettings, seed: int, keep_removed: KeepRemoved
) -> None:
    """Filter one file; decisions and signals keep a row for every document, kept or removed."""
    filters = compile_filters(settings, seed)
    outputs = FilterOutputs(task, filters, Path(path), source, keep_removed)
    row = 0
    for group in read_tables(Path(path)):
        for table in cut_by_bytes(group, _TABLE_BYTES):
            outputs.add(table, filters.apply(table, first_row=row))
            row += table.num_rows
    outputs.publish()


class FilterOutputs:
    """What a task leaves behind that decides by rules: documents, decisions, signals, books, and what lies
    near the cuts."""

    def __init__(
        self, task: Attempt, filters: Filters, path: Path, source: str, keep_removed: KeepRemoved
    ) -> None:
        self.task, self.source, self.books = task, source, Books()
        self.documents = DocumentOutputs(
            task, source, filters.seed, extra_fields(path), keep_removed=keep_removed
        )
        self.cuts = CutObserver(filters, filters.seed)
        self._writers: dict[str, ParquetWriter] = {}

    def add(self, documents: pa.Table, outcome: FilterOutcome) -> None:
        """Write what became of a table of documents, given as they came in."""
        self.documents.keep(outcome.kept)
        self.documents.remove(outcome.removed)
        self._write("decisions", outcome.decisions)
        self._write("signals", outcome.signals)
        self.cuts.see(documents, outcome)
        self._book(documents, outcome)

    def publish(self) -> None:
        self.task.record.books = self.books
        for kind, writer in self._writers.items():
            writer.close()
            self.task.publish(writer.path, kind, writer.num_rows, source=self.source)
        self.documents.publish()
        self.cuts.into(self.task.record)

    def _write(self, kind: str, table: pa.Table) -> None:
        if kind not in self._writers:
            self._writers[kind] = ParquetWriter(self.task.scratch / f"{kind}.parquet", table.schema)
        self._writers[kind].write(table)

    def _book(self, documents: pa.Table, outcome: FilterOutcome) -> None:
        self.books.items_in += documents.num_rows
        self.books.bytes_in += text_bytes(documents)
        self.books.items_out.update(kept=outcome.kept.num_rows, removed=outcome.removed.num_rows)
        sizes = {"kept": text_bytes(outcome.kept), "removed": text_bytes(outcome.removed)}
        self.books.bytes_out.update(sizes, deleted=outcome.counts["deleted_bytes"])
        self.books.inserted_bytes += outcome.counts["inserted_bytes"]
        self.books.by_rule_first.update(Counter(outcome.counts["by_rule_first"]))
        self.books.by_rule_any.update(Counter(outcome.counts["by_rule_any"]))
