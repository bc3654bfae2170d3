"""Decide anew from stored signals: other bounds, no measuring.

    pair = recut_filters(old, new, seed=1)      # FilterSettings that differ in bounds
    outcome = recut(pair, documents, decisions, signals)

`documents` are those the first run read, row by row beside its decisions and signals; edits are applied as
stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.errors import IntegrityError, UsageError
from gristmill.filters.block import MEASURED_BYTES
from gristmill.filters.edits import Edits
from gristmill.filters.passes import FilterOutcome, Filters, compile_filters
from gristmill.filters.presets import PRESETS
from gristmill.filters.settings import FilterSettings

_NEEDS_RUN = "this needs a run of the filter stage: signals and edits were stored for the old settings"


@dataclass(frozen=True, slots=True)
class Recut:
    """Filters that measured, and filters with other bounds that decide."""

    old: Filters
    new: Filters


def recut_filters(old: FilterSettings, new: FilterSettings, seed: int) -> Recut:
    """Compile both and check that they differ in bounds only; raises UsageError where the text would be
    measured anew."""
    pair = Recut(compile_filters(old, seed), compile_filters(new, seed))
    before = [(block.name, block.recipe, block.digests) for part in pair.old.passes for block in part.blocks]
    after = [(block.name, block.recipe, block.digests) for part in pair.new.passes for block in part.blocks]
    if before != after:
        differing = next((one or other for one, other in _aligned(before, after) if one != other), None)
        what = _parameters(old, new, differing[0]) if differing else "the order of filters"
        raise UsageError(
            f"`recut` takes bounds only, and `{what}` changes what is measured or edited", hint=_NEEDS_RUN
        )
    has_edits = any(block.edits for part in pair.old.passes for block in part.blocks)
    if old.annotate != new.annotate and has_edits:
        raise UsageError(
            "`recut` cannot switch `annotate` where a filter edits texts: what follows measured other texts",
            hint=_NEEDS_RUN,
        )
    return pair


def _parameters(old: FilterSettings, new: FilterSettings, block: str) -> str:
    """Name the settings of a preset that differ and are no bounds, or the whole filter where it is no
    preset."""
    names = PRESETS[block].parameters if block in PRESETS else ()
    before, after = (settings.set for settings in (old, new))
    changed = [key for name in names if before.get(key := f"{block}.{name}") != after.get(key)]
    return "` and `".join(changed) or block


def _aligned(before: list[Any], after: list[Any]) -> list[tuple[Any, Any]]:
    longer = max(len(before), len(after))
    return list(
        zip(before + [None] * (longer - len(before)), after + [None] * (longer - len(after)), strict=True)
    )


def recut(filters: Recut, documents: pa.Table, decisions: pa.Table, signals: pa.Table) -> FilterOutcome:
    """Decide a file's documents anew.

    Raises IntegrityError where the three tables are not of the same documents, UsageError where a document
    that would be kept was not measured by every pass (`measure: survivors`) or is too long to have been
    edited.
    """
    rows = documents.num_rows
    ids = documents.column("id").combine_chunks()
    for name, table in (("decisions", decisions), ("signals", signals)):
        if table.num_rows != rows or not ids.equals(table.column("id").combine_chunks()):
            raise IntegrityError(
                f"the {name} are not those of these {rows:,} documents",
                hint="recut beside the run's own input",
            )
    first_row = decisions.column("row")[0].as_py() if rows else 0
    outcome = filters.new.assemble(
        documents, signals.select(filters.new.signals.names), _edits(filters, decisions), first_row
    )
    kept = np.asarray(pc.equal(outcome.decisions.column("decision"), "kept")).astype(bool)
    _check_measured(filters.new, signals, kept)
    if any(block.edits for part in filters.new.passes for block in part.blocks):
        sizes = np.asarray(pc.fill_null(pc.binary_length(documents.column("text")), 0))
        fresh = (
            kept
            & (sizes > MEASURED_BYTES)
            & ~np.asarray(pc.equal(decisions.column("decision"), "kept")).astype(bool)
        )
        if fresh.any():
            raise UsageError(
                f"{int(fresh.sum())} documents over {MEASURED_BYTES:,} bytes would now be kept unedited",
                hint=_NEEDS_RUN,
            )
    return outcome


def _check_measured(filters: Filters, signals: pa.Table, kept: npt.NDArray[np.bool_]) -> None:
    for part in filters.passes:
        for block in part.blocks:
            missing = (
                np.asarray(signals.column(part.column(block, next(iter(block.signals)))).is_null()).astype(
                    bool
                )
                & kept
            )
            if missing.any():
                raise UsageError(
                    f"{int(missing.sum())} documents would pass on to `{block.name}`, which never measured"
                    " them",
                    hint=f"{_NEEDS_RUN}; `measure: all` stores every signal",
                )


def _edits(filters: Recut, decisions: pa.Table) -> list[Edits]:
    """Read the stored edits, one part per pass, with rules renumbered: switching rules off moves numbers."""
    column = decisions.column("edits").combine_chunks()
    values = column.flatten()
    counts = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    document = np.repeat(np.arange(len(column)), counts)
    start, end, rule = (np.asarray(values.field(name)).astype(np.int64) for name in ("start", "end", "rule"))
    texts = np.array([(text or "").encode() for text in values.field("replacement").to_pylist()], object)
    names = np.array(filters.old.rules, object)
    found = []
    for part in filters.new.passes:
        own = {name for block in part.blocks for name in block.edits}
        chosen = np.flatnonzero([name in own for name in names[rule]])
        numbers = [filters.new.numbers[name] for name in names[rule[chosen]]]
        rows = zip(
            document[chosen].tolist(),
            start[chosen].tolist(),
            end[chosen].tolist(),
            numbers,
            texts[chosen],
            strict=True,
        )
        found.append(Edits.of(list(rows)))
    return found
