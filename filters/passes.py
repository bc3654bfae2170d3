"""Run filters over documents: measure, decide, edit, pass by pass, and account for every document and byte.

How a stage calls this:

    settings = FilterSettings(presets=("gopher", "c4-code"))
    filters = compile_filters(settings, seed=1)
    outcome = filters.apply(documents, first_row=0)     # documents: gristmill.document.DOCUMENT
    outcome.kept, outcome.removed, outcome.decisions, outcome.signals, outcome.counts

Blocks that share a text version form a pass; a block that edits ends it, and the next pass measures the
edited text. A document is removed by the first pass in which it fails a rule, and carries every rule it
failed in that pass. Bytes in = kept out + removed + deleted - inserted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.document import removed_schema
from gristmill.filters.apply import apply_edits
from gristmill.filters.block import Batch, Block
from gristmill.filters.edits import EDIT, Edits, edit_column
from gristmill.filters.failures import Failures, find_failures
from gristmill.filters.order import build_blocks
from gristmill.filters.rules import Rule, Verdict, decide, decide_again
from gristmill.filters.settings import FilterSettings
from gristmill.text.words import Scratch

VERSION = 1  # raised when the same documents and settings would give other decisions, signals or texts
_BATCH_BYTES = 1 << 20  # texts measured at once: their words and tables stay in cache

DECISIONS = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("row", pa.uint64(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),  # kept or removed
        pa.field("failed_rules", pa.list_(pa.uint16())),  # of one pass, as numbers of Filters.rules
        pa.field("edits", pa.list_(EDIT)),  # byte offsets into the version that the edit's rule belongs to
    ]
)


@dataclass(frozen=True, slots=True)
class Pass:
    """Blocks over one version of the text; only the last may edit."""

    version: int
    blocks: tuple[Block, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(rule for block in self.blocks for rule in block.rules)

    @property
    def signals(self) -> dict[str, pa.DataType]:
        """Signals and their types, named `v<version>.<signal>`; blocks that share a signal measure the
        same."""
        found: dict[str, pa.DataType] = {}
        for block in self.blocks:
            found |= {self.column(block, name): kind for name, kind in block.signals.items()}
            if block.languages is not None:
                found[self.column(block, "applies")] = pa.bool_()
        return found

    def column(self, block: Block, signal: str) -> str:
        return f"v{self.version}.{block.name}.{signal}"


@dataclass(frozen=True, slots=True)
class FilterOutcome:
    """What became of a table of documents; `counts` are plain numbers for the books."""

    kept: pa.Table
    removed: pa.Table
    decisions: pa.Table
    signals: pa.Table
    counts: dict[str, Any]
    verdicts: Sequence[Verdict]  # of each pass
    removed_by: npt.NDArray[np.int64]  # the pass that removes each document, or would; -1 for none


class Filters:
    """Validated, ordered passes; `rules` names every rule and edit by its number in decisions."""

    def __init__(self, settings: FilterSettings, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.scratch = Scratch()
        blocks = build_blocks(settings, seed)
        self.passes = tuple(_passes(blocks))
        self.rules = tuple(
            name for block in blocks for name in (*(rule.name for rule in block.rules), *block.edits)
        )
        self.numbers = {name: number for number, name in enumerate(self.rules)}
        self.bins = {rule.name: rule.bins for part in self.passes for rule in part.rules}
        self.digests = {
            f"{block.name}.{name}": digest for block in blocks for name, digest in block.digests.items()
        }
        self.version = VERSION
        types = {name: kind for part in self.passes for name, kind in part.signals.items()}
        self.signals = pa.schema(
            [pa.field("id", pa.binary(16), nullable=False), *(pa.field(*item) for item in types.items())]
        )

    def apply(self, documents: pa.Table, first_row: int = 0) -> FilterOutcome:
        """Filter a table of documents; `first_row` is the number of its first row in the file."""
        signals, edits = [self.signals.empty_table()], [[Edits.none()] for _ in self.passes]
        rows = 0
        for batch in batches(documents):
            measured, found = self._measure(batch)
            signals.append(measured)
            for versions, part in zip(edits, found, strict=True):
                versions.append(part.moved(rows))
            rows += batch.num_rows
        joined = pa.concat_tables(signals).combine_chunks()
        return self.assemble(documents, joined, [Edits.concat(parts) for parts in edits], first_row)

    def assemble(
        self, documents: pa.Table, signals: pa.Table, edits: Sequence[Edits], first_row: int
    ) -> FilterOutcome:
        """Decide from signals, apply the edits of what is kept, and count: also how stored signals are
        decided anew."""
        verdicts, removed_by = self.decide(signals)
        would = removed_by
        if self.settings.annotate:
            removed_by, edits = np.full(len(would), -1), [Edits.none() for _ in self.passes]
        removed = removed_by >= 0
        documents = documents.combine_chunks()
        kept_edits = [part.select(~removed) for part in edits]
        failures = find_failures(verdicts, would)
        decisions = self._decisions(documents, failures, removed_by, edits, first_row)
        if self.settings.annotate:
            failures = find_failures(verdicts, removed_by)
        named = self._named(failures, signals)
        lost = documents.filter(pa.array(removed))
        removal = failures.removal(verdicts, named)
        gone = pa.Table.from_arrays([*lost.columns, *removal], schema=removed_schema(documents.schema))
        counts = self._counts(failures, named, kept_edits)
        kept = _edited(documents, removed, kept_edits)
        return FilterOutcome(kept, gone, decisions, signals, counts, verdicts, would)

    def decide(self, signals: pa.Table) -> tuple[list[Verdict], npt.NDArray[np.int64]]:
        """Decide every pass from signals; return the verdicts and the pass that removes each document, -1 for
        none.

        Signals that were not measured are null: the pass has no say on such a document.
        """
        verdicts = []
        removed_by = np.full(signals.num_rows, -1)
        for number, part in enumerate(self.passes):
            verdict = self._verdict(part, signals)
            verdicts.append(verdict)
            removed_by[(removed_by < 0) & verdict.removed] = number
        return verdicts, removed_by

    def _verdict(self, part: Pass, signals: pa.Table) -> Verdict:
        """Decide block by block: two presets may give different meanings to one name."""
        rows = signals.num_rows
        verdicts = []
        for block in part.blocks:
            needed = sorted({name for rule in block.rules for name in (rule.signal, rule.per) if name})
            own = {name: _numbers(signals, part.column(block, name)) for name in needed}
            measured = (
                _measured(signals, part.column(block, next(iter(block.signals))))
                if block.signals
                else np.ones(rows, bool)
            )
            if block.languages is not None:
                measured = measured & np.asarray(
                    signals.column(part.column(block, "applies")).fill_null(False)
                ).astype(bool)
            verdict = decide(block.rules, own, measured, rows)
            if block.by_language:
                spoken = np.asarray(signals.column(part.column(block, block.spoken)).to_pylist(), object)
                for language, bounds in block.by_language.items():
                    decide_again(block.rules, verdict, spoken == language, bounds)
            verdicts.append(verdict)
        names = ("failed", "values", "sides", "applies")
        columns = (np.concatenate([getattr(verdict, name) for verdict in verdicts]) for name in names)
        return Verdict(*columns)

    def _measure(self, documents: pa.Table) -> tuple[pa.Table, list[Edits]]:
        """Measure all passes of a batch; by default those also see documents that an earlier pass removed."""
        columns: dict[str, Any] = {"id": documents.column("id")}
        found: list[Edits] = []
        rows = np.arange(documents.num_rows)
        for part in self.passes:
            batch, kinds = Batch(documents, self.scratch), part.signals
            edits = Edits.none()
            fresh: dict[str, Any] = {}
            for block in part.blocks:
                measured = block.measure(batch)
                applies = block.applies(batch)
                if applies is not None:
                    fresh[part.column(block, "applies")] = applies
                fresh |= {part.column(block, name): measured.signals[name] for name in block.signals}
                if measured.edits is not None:
                    edits = measured.edits if applies is None else measured.edits.select(applies)
                    numbers = np.array([self.numbers[name] for name in block.edits], np.int64)
                    edits = replace(edits, rule=numbers[edits.rule])
            columns |= {
                name: _scatter(values, rows, len(columns["id"]), kinds[name])
                for name, values in fresh.items()
            }
            found.append(_at_rows(edits, rows))
            if part is self.passes[-1]:
                break
            documents = batch.documents if self.settings.annotate else _with_edits(batch, edits)
            if self.settings.measure == "survivors" and not self.settings.annotate:
                known = pa.table({name: pa.array(values, kinds[name]) for name, values in fresh.items()})
                alive = ~self._verdict(part, known).removed if fresh else np.ones(len(rows), bool)
                documents, rows = documents.filter(pa.array(alive)), rows[alive]
        return pa.table(columns, schema=self.signals), found

    def _decisions(
        self,
        documents: pa.Table,
        failures: Failures,
        removed_by: Any,
        edits: Sequence[Edits],
        first_row: int,
    ) -> pa.Table:
        numbers = [self.numbers[rule.name] for part in self.passes for rule in part.rules]
        rows = np.arange(first_row, first_row + documents.num_rows, dtype=np.uint64)
        decision = pa.array(["kept", "removed"]).take(pa.array((removed_by >= 0).astype(np.int8)))
        failed = failures.listed(np.array(numbers, np.uint16))
        columns = [documents.column("id"), rows, decision, failed, edit_column(documents.num_rows, edits)]
        return pa.table(dict(zip(DECISIONS.names, columns, strict=True)), schema=DECISIONS)

    def _named(self, failures: Failures, signals: pa.Table) -> pa.StringArray:
        """Return the names of failed rules: a block's detail is joined to its rules."""
        owners = [
            (part, block, rule.name) for part in self.passes for block in part.blocks for rule in block.rules
        ]
        failed = set(failures.rules.tolist())
        details = {
            number: signals.column(part.column(block, block.detail)).to_pylist()
            for number, (part, block, _) in enumerate(owners)
            if block.detail and number in failed
        }
        return failures.named([name for *_, name in owners], details)

    def _counts(self, failures: Failures, named: pa.StringArray, edits: Sequence[Edits]) -> dict[str, Any]:
        first, every = failures.counts(named)
        deleted: dict[str, int] = {}
        for part in edits:
            for rule in np.unique(part.rule):
                reason = self.rules[rule]
                deleted[reason] = deleted.get(reason, 0) + int(part.deleted_bytes[part.rule == rule].sum())
        return {
            "by_rule_first": first,
            "by_rule_any": every,
            "deleted_bytes": int(sum(part.deleted_bytes.sum() for part in edits)),
            "inserted_bytes": int(sum(part.inserted_bytes.sum() for part in edits)),
            "deleted_bytes_by_rule": deleted,
        }


def compile_filters(settings: FilterSettings, seed: int) -> Filters:
    """Check settings, load lists and models, and order the passes.

    Raises RecipeError or InputError with a hint where a list, model or function cannot be used.
    """
    return Filters(settings, seed)


def _passes(blocks: Sequence[Block]) -> Iterator[Pass]:
    version, gathered = 0, []
    for block in blocks:
        gathered.append(block)
        if block.edits:
            yield Pass(version, tuple(gathered))
            version, gathered = version + 1, []
    if gathered:
        yield Pass(version, tuple(gathered))


def batches(documents: pa.Table) -> Iterator[pa.Table]:
    """Cut a table into slices of about _BATCH_BYTES of text, a larger document by itself."""
    lengths = np.asarray(pc.fill_null(pc.binary_length(documents.column("text")), 0))
    start = size = 0
    for row, length in enumerate(lengths.tolist()):
        if size and size + length > _BATCH_BYTES:
            yield documents.slice(start, row - start)
            start, size = row, 0
        size += length
    if len(lengths) > start:
        yield documents.slice(start)


def _numbers(signals: pa.Table, name: str) -> npt.NDArray[Any]:
    column = signals.column(name)
    return np.asarray(column.fill_null(0) if column.null_count else column)


def _measured(signals: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray(signals.column(name).is_valid()).astype(bool)


def _scatter(values: Any, rows: npt.NDArray[Any], num_rows: int, kind: pa.DataType) -> pa.Array:
    """Put the values of some rows into a column of all, null elsewhere."""
    if len(rows) == num_rows:
        return pa.array(values, kind)
    places = np.full(num_rows, -1)
    places[rows] = np.arange(len(rows))
    return pa.array(values, kind).take(pa.array(places, mask=places < 0))


def _at_rows(edits: Edits, rows: npt.NDArray[Any]) -> Edits:
    return replace(edits, document=rows[edits.document])


def _with_edits(batch: Batch, edits: Edits) -> pa.Table:
    """Return the documents with their edited texts: the next version."""
    if not len(edits):
        return batch.documents
    column = batch.documents.column("text")
    offsets, data = apply_edits(batch.starts, batch.stops, batch.data, edits)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    text = pa.Array.from_buffers(pa.large_string(), len(batch), buffers)
    if column.null_count:
        text = pc.if_else(column.combine_chunks().is_valid(), text, None)
    return batch.documents.set_column(
        batch.documents.schema.get_field_index("text"), batch.documents.schema.field("text"), text
    )


def _edited(documents: pa.Table, removed: npt.NDArray[np.bool_], edits: Sequence[Edits]) -> pa.Table:
    """Return the kept documents with all edits applied, version by version."""
    for part in edits:
        documents = _with_edits(Batch(documents), part)
    return documents.filter(pa.array(~removed))
