"""Hand documents over as JSON lines or Parquet: what a run kept, removed, or failed on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson
import pyarrow as pa

from gristmill.errors import UsageError
from gristmill.pipeline.run.final import SourceFiles, final_documents, outlet
from gristmill.pipeline.run.folder import decides_on_documents, handed_on
from gristmill.storage import ParquetWriter, read_tables

Kind = Literal["documents", "removed", "failed"]


def export_jsonl(
    out: Path,
    kind: Kind,
    target: BinaryIO | None = None,
    *,
    id_column: str | None = None,
    partial: bool = False,
) -> int:
    """Write one JSON object a line and return their number; ids are hex, dates ISO 8601, `step` says who let
    them go. `id_column` names the column that goes by `id` instead.

    Raises IncompleteError where documents are asked for that a missing step was to decide on, unless
    `partial`.
    """
    target = target or sys.stdout.buffer
    num_rows = 0
    for part in _parts(out, kind, partial):
        for table in _tables(part, id_column):
            for row in table.to_pylist():
                extra = {} if kind == "documents" else {"step": part.step}
                target.write(
                    orjson.dumps(
                        {**row, **extra}, default=_plain, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
                    )
                )
                num_rows += 1
    target.flush()
    return num_rows


def export_parquet(
    out: Path, kind: Kind, path: Path, *, id_column: str | None = None, partial: bool = False
) -> int:
    """Write one Parquet file; sources with different pass-through columns are united, absent ones null."""
    parts = _parts(out, kind, partial)
    tables = [table.schema for part in parts for table in _tables(part, id_column)]
    if not tables:
        raise UsageError(f"`{out}` holds no {kind} rows to export")
    schema = pa.unify_schemas(tables)
    with ParquetWriter(path, schema) as writer:
        for part in parts:
            for table in _tables(part, id_column):
                writer.write(_widen(table, schema))
    return writer.num_rows


def _parts(out: Path, kind: Kind, partial: bool) -> list[SourceFiles]:
    handed = handed_on(
        out, partial=partial or kind != "documents", hint="take what is there with `--partial`"
    )
    manifests = handed.manifests
    if handed.lacks:
        last = next((name for name in reversed(manifests) if decides_on_documents(name)), "nothing")
        print(f"partial: {handed.lacks}; what follows stands as of `{last}`", file=sys.stderr)
    return final_documents(manifests) if kind == "documents" else outlet(manifests, kind)


def _tables(part: SourceFiles, id_column: str | None) -> Iterator[pa.Table]:
    for path, _ in part.files:
        for table in read_tables(path):
            yield table if id_column is None else _known_by(table, id_column, part.source)


def _known_by(table: pa.Table, column: str, source: str) -> pa.Table:
    """Let a column be the `id`, as the source's own does; gristmill's goes by `gristmill_id`."""
    if column not in table.column_names:
        raise UsageError(
            f"the documents of `{source}` have no column `{column}`",
            hint=f"keep it with `passthrough: [id]`; there are {', '.join(table.column_names)}",
        )
    names = {"id": "gristmill_id", column: "id"}
    return table.rename_columns([names.get(name, name) for name in table.column_names])


def _widen(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(field.name) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"cannot export a {type(value).__name__}")
