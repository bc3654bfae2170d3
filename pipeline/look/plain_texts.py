"""Some megabytes of text from whatever holds documents: a run, Parquet files, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.errors import InputError
from gristmill.files.inside import parsed
from gristmill.files.parquet import parquet_schema
from gristmill.files.storage import read_tables
from gristmill.pipeline.run.folder import RUN_FILE, finished_steps
from gristmill.pipeline.run.records.final import final_documents

SCHEMA = pa.schema([pa.field("text", pa.large_string()), pa.field("language", pa.string())])


def texts_of(places: list[Path], max_bytes: int) -> dict[str, pa.Table]:
    """By source (or file), its first texts with their language, up to so many bytes each."""
    found = {}
    for place in places:
        if (place / RUN_FILE).exists():
            for part in final_documents(finished_steps(place)):
                rows = (row for path, _ in part.files for row in _rows(path))
                found[part.source] = _first(rows, max_bytes)
        else:
            files = sorted(place.rglob("*.parquet")) if place.is_dir() else [place]
            found[place.name] = _first((row for file in files for row in _rows(file)), max_bytes)
    return {name: table for name, table in found.items() if len(table)}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        names = parquet_schema(path).names
        if "text" not in names:
            raise InputError(f"`{path}` has no column `text`")
        for table in read_tables(path, [name for name in SCHEMA.names if name in names]):
            yield from table.to_pylist()
        return
    import fsspec

    with fsspec.open(str(path), "rt", encoding="utf-8", compression="infer") as lines:
        yield from (parsed(line) for line in lines if line.strip())


def _first(rows: Iterator[dict[str, Any]], max_bytes: int) -> pa.Table:
    kept, left = [], max_bytes
    for row in rows:
        text = row.get("text") or ""
        kept.append({"text": text, "language": row.get("language") or row.get("lang")})
        left -= len(text.encode())
        if left <= 0:
            break
    return pa.Table.from_pylist(kept, schema=SCHEMA)
