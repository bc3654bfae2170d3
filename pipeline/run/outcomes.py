"""What a task that handles documents leaves behind: kept, removed and failed rows, each with its index
sidecar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from gristmill import index
from gristmill.document import FAILED, document_schema, removed_schema
from gristmill.hashing import uniform
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.run.tallies import Observer
from gristmill.storage import ParquetWriter

KeepRemoved = Literal["text", "signals", "sample"]
SAMPLED_FRACTION = 0.01


class DocumentOutputs:
    """Write the documents of one task and, at `publish`, hand over the files that have rows.

    The kept file is published even when empty, so that a step's shards and its inputs' shards correspond.
    """

    def __init__(
        self,
        task: Attempt,
        source: str,
        seed: int,
        extra: Sequence[pa.Field] = (),
        *,
        keep_removed: KeepRemoved = "text",
        by_url: bool = False,
    ) -> None:
        self.task, self.source, self.seed, self.keep_removed, self.by_url = (
            task,
            source,
            seed,
            keep_removed,
            by_url,
        )
        self.schema = document_schema(extra)
        schemas = {"documents": self.schema, "removed": removed_schema(self.schema), "failed": FAILED}
        self._writers = {
            kind: ParquetWriter(task.scratch / f"{kind}.parquet", schema) for kind, schema in schemas.items()
        }
        self._keys: dict[str, list[pa.ChunkedArray]] = {kind: [] for kind in schemas}
        self._urls: dict[str, list[pa.ChunkedArray]] = {kind: [] for kind in schemas}
        self.observer = Observer(seed)

    def keep(self, documents: pa.Table) -> None:
        self._write("documents", documents)
        self.observer.see("kept", documents)

    def remove(self, removed: pa.Table) -> None:
        self.observer.see("removed", removed)
        self._write("removed", self._trim(removed))

    def fail(self, failed: pa.Table) -> None:
        self.observer.see_failed(failed)
        self._write("failed", failed)

    def publish(self) -> None:
        """Close the files, write their sidecars, and hand both over; samples and tallies go into the
        record."""
        for kind, writer in self._writers.items():
            writer.close()
            if not writer.num_rows and kind != "documents":
                continue
            self.task.publish(writer.path, kind, writer.num_rows, source=self.source)
            self._publish_index(f"{kind}-index", self._keys[kind])
            if self.by_url:
                self._publish_index(f"{kind}-urls", self._urls[kind])
        self.observer.into(self.task.record)

    def _write(self, kind: str, table: pa.Table) -> None:
        if not table.num_rows:
            return
        self._writers[kind].write(table)
        self._keys[kind].append(table.column("id"))
        if self.by_url:
            self._urls[kind].append(pa.chunked_array([index.url_keys(table.column("url"))]))

    def _publish_index(self, kind: str, keys: list[pa.ChunkedArray]) -> None:
        chunks = [chunk for part in keys for chunk in part.chunks]
        path = self.task.scratch / f"{kind}.idx"
        num_rows = index.write_index(path, pa.chunked_array(chunks, pa.binary(16)))
        self.task.publish(path, kind, num_rows, source=self.source)

    def _trim(self, removed: pa.Table) -> pa.Table:
        """Drop the texts that `keep_removed` does not ask for."""
        if self.keep_removed == "text" or not removed.num_rows:
            return removed
        keep = pa.array([False] * removed.num_rows)
        if self.keep_removed == "sample":
            keep = pa.array(
                uniform(self.seed, "keep_removed", removed.column("id").combine_chunks()) < SAMPLED_FRACTION
            )
        text = pc.if_else(keep, removed.column("text"), pa.scalar(None, pa.large_string()))
        return removed.set_column(removed.schema.get_field_index("text"), removed.schema.field("text"), text)
