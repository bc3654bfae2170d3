"""What deduplication decided, as kept and removed documents with their clusters; and the alarm over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.alarm import check_losses
from gristmill.dedup.decisions import Applied
from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.settings.near import FuzzySettings, SemanticSettings
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.phases.dedup.samples import (
    ClusterObserver,
    CutObserver,
    Largest,
)
from gristmill.pipeline.phases.shuffle import (
    DocumentFile,
)
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.run.records.outcomes import Outcomes

CARRIED = (pa.field("cluster_id", pa.binary(16)), pa.field("cluster_size", pa.uint32()))


def write_applied(
    task: Attempt[Any], shard: DocumentFile, batches: Iterable[Applied], decisions: pa.Schema
) -> None:
    """Write and book batches of kept and removed documents and their decisions; documents carry the cluster
    they are in."""
    clusters = ClusterObserver(task.seed) if "cluster_size" in decisions.names else None
    carried = CARRIED if clusters else ()
    names = {field.name for field in carried}
    before = [field for field in extra_fields(Path(shard.path)) if field.name not in names]
    outcomes = Outcomes(task, shard.source, [*before, *carried], sides={"decisions": decisions})
    cuts = CutObserver(task.seed) if "deleted_bytes" in decisions.names else None
    for applied in batches:
        kept, removed = applied.kept, applied.removed
        if clusters:
            clusters.see(applied.decisions, both(applied))
            kept, removed = (with_clusters(part, applied.decisions) for part in (kept, removed))
        deleted = 0
        if cuts:
            cuts.see(applied.decisions)
            deleted = int(pc.sum(applied.decisions["deleted_bytes"]).as_py() or 0)
        read = (applied.decisions.num_rows, applied.bytes_in)
        outcomes.take(read, kept, removed, deleted_bytes=deleted)
        outcomes.note("decisions", applied.decisions)
    outcomes.publish()
    if clusters:
        clusters.into(task.record)
    if cuts:
        cuts.into(task.record)


def with_clusters(documents: pa.Table, decisions: pa.Table) -> pa.Table:
    """Let documents carry their cluster: what is alike is held out together, and a mixture can weight by its
    size.

    A document found to be alone keeps the cluster that an earlier step found it in.
    """
    mine = decisions.filter(pc.is_in(decisions["id"], documents["id"].combine_chunks()))
    for field in CARRIED:
        column = mine[field.name]
        if field.name in documents.column_names:
            column = pc.if_else(pc.greater(mine["cluster_size"], 1), column, documents[field.name])
            documents = documents.drop_columns([field.name])
        documents = documents.append_column(field, column)
    return documents


def both(applied: Applied) -> pa.Table:
    """The id, URL and text of a batch's documents, kept or removed."""
    columns = ["id", "url", "text"]
    return pa.concat_tables([applied.kept.select(columns), applied.removed.select(columns)])


def check_alarm(
    settings: ExactSettings | FuzzySettings | SemanticSettings,
    shards: Sequence[DocumentFile],
    applied: Sequence[TaskRecord],
    decided: Sequence[TaskRecord],
) -> None:
    """Stop the step before it is published when a source has all but gone."""
    entered: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for shard, record in zip(shards, applied, strict=True):
        if record.books:
            entered[shard.source] += record.books.items_in
            removed[shard.source] += record.books.items_out["removed"]
    largest = [(survivor, size) for record in decided for survivor, size in record.stated(Largest).largest]
    check_losses(settings, "deduplication", entered, removed, largest)
