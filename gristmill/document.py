"""The one data contract: what a document is, in Arrow, between all stages."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.hashing import digest16

SCHEMA_VERSION = 1
_METADATA = {b"gristmill.document": str(SCHEMA_VERSION).encode()}

ORIGIN = pa.struct([("file", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])

# `date` is when the page was fetched or the text published; milliseconds, because Parquet has no coarser
# unit.
FIELDS = (
    pa.field("id", pa.binary(16), nullable=False),
    pa.field("url", pa.string()),
    pa.field("source", pa.string(), nullable=False),
    pa.field("date", pa.timestamp("ms", tz="UTC")),
    pa.field("text", pa.large_string()),
    pa.field("language", pa.string()),
    pa.field("language_score", pa.float32()),
    pa.field("origin", ORIGIN, nullable=False),
)
DOCUMENT = pa.schema(FIELDS, metadata=_METADATA)

# What a removed document carries besides itself: the first failed rule with its value and bound, and all
# rules of the pass.
REMOVAL_FIELDS = (
    pa.field("rule", pa.string(), nullable=False),
    pa.field("value", pa.float64()),
    pa.field("bound", pa.float64()),
    pa.field("rules", pa.list_(pa.string())),
)

# A record that could not be turned into a document.
FAILED = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("url", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field(
            "error", pa.string(), nullable=False
        ),  # a short stable name: timeout, memory, too_large, damaged_member, ...
        pa.field("message", pa.string()),
        pa.field("origin", ORIGIN, nullable=False),
        pa.field("payload_bytes", pa.int64(), nullable=False),
    ],
    metadata=_METADATA,
)


def document_schema(extra: Sequence[pa.Field] = ()) -> pa.Schema:
    """Return the document schema followed by a user's pass-through columns."""
    return pa.schema([*FIELDS, *extra], metadata=_METADATA)


def removed_schema(documents: pa.Schema) -> pa.Schema:
    """Return the schema of removed documents for a given schema of kept ones."""
    return pa.schema([*documents, *REMOVAL_FIELDS], metadata=_METADATA)


def removed_rows(
    documents: pa.Table, rules: pa.Array, values: pa.Array | None = None, bounds: pa.Array | None = None
) -> pa.Table:
    """Return documents with the columns of a removal by one rule each: what it measured, and its bound."""
    empty = pa.nulls(documents.num_rows, pa.float64())
    listed = pa.ListArray.from_arrays(pa.array(range(len(rules) + 1), pa.int32()), rules)
    numbers = [empty if column is None else column.cast(pa.float64()) for column in (values, bounds)]
    return pa.table([*documents.columns, rules, *numbers, listed], schema=removed_schema(documents.schema))


def text_bytes(documents: pa.Table) -> int:
    """Return the UTF-8 bytes of the text column; null counts as nothing."""
    return int(pc.sum(pc.binary_length(documents.column("text"))).as_py() or 0)


def document_id(source: str, key: str) -> bytes:
    """Return the 16-byte id of a record: a hash of its source and its own key, never of its place in a file.

    The key is the WARC-Record-ID, else the id column, else `text_key(url, text)`.
    """
    return digest16(source, key)


def text_key(url: str | None, text: str) -> str:
    """Return the record key of a document that has no id of its own."""
    return digest16(url or "", text).hex()
