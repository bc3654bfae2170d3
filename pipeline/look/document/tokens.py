"""What became of a document's tokens: its encoding, and its copies in the mixed shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.cells import BUCKET, TOPIC
from gristmill.files.storage import read_tables
from gristmill.manifest import Manifest
from gristmill.pipeline.look.document.copies import copies_in_shards
from gristmill.pipeline.look.document.event import Event, lost, reason
from gristmill.pipeline.look.document.lookup import FoundRow, find_id, find_side, read_row
from gristmill.pipeline.stages.mix import MixFacts


def encoded(manifest: Manifest, at: FoundRow, id_: bytes) -> Event:
    """What came of a document's encoding; documents that no encoder takes have no row in the index, so that
    those behind them stand nearer to its beginning than in their file."""
    row = find_side(manifest, "token-index", id_, at.source, at.position, at.row)
    if row is not None:
        facts = {"tokens": row["tokens"], "bytes": row["bytes"], "row": at.row}
        return Event(manifest.step, "encoded", facts)
    if (failed := find_id(manifest, id_, at.position, at.source)) is not None:
        why = reason(read_row(failed.path, failed.row, ("error", "message")))
        return Event(manifest.step, "failed", why)
    for entry in manifest.named("token-index"):
        first_row = 0
        for table in read_tables(manifest.folder / entry.path, ["id", "tokens", "bytes"]):
            hits = np.flatnonzero(pc.equal(table["id"], pa.scalar(id_, table.schema.field("id").type)))
            if len(hits):
                facts = {name: table[name][int(hits[0])].as_py() for name in ("tokens", "bytes")}
                return Event(manifest.step, "encoded", {**facts, "row": first_row + int(hits[0])})
            first_row += table.num_rows
    return lost(manifest)


def in_mixtures(manifests: Mapping[str, Manifest], at: FoundRow, id_: bytes) -> Iterator[Event]:
    """Where a document's tokens lie in the mixed shards, copy by copy; with the weight of its cell, where a
    curve weighs cells."""
    for manifest in manifests.values():
        if manifest.ingredients["stage"] == "mix":
            copies = list(copies_in_shards(manifest, at.source, id_))
            cell = _cell(manifest, at)
            if not copies:
                never = cell and not cell["weight of its cell"]
                taken = any(at.source in places for places in manifest.stated(MixFacts).places.values())
                why = (
                    "its curve takes its cell never"
                    if never
                    else "its source's epochs or the budget left it out"
                    if taken
                    else "the mixture takes nothing of its source"
                )
                yield Event(manifest.step, "not drawn", {**cell, "note": why})
            for copy in copies:
                yield Event(manifest.step, "in shard", {**copy, **cell})


def _cell(manifest: Manifest, at: FoundRow) -> dict[str, Any]:
    """A document's topic and bucket, and how often the mixture takes their documents."""
    cells = manifest.stated(MixFacts).cells.get(at.source)
    if cells is None:
        return {}
    row = read_row(at.path, at.row, (TOPIC, BUCKET))
    topic, bucket = row.get(TOPIC) or "", row.get(BUCKET) or 0
    weight = cells.get(topic, {}).get(str(bucket), {}).get("weight", 0.0)
    return {"cell": f"{topic or 'all topics'}, bucket {bucket}", "weight of its cell": weight}
