"""Encode documents once: a payload of tokens and an index with a row per document, in the order of the
documents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.heldout import UNIT_COLUMN, units
from gristmill.parquet import parquet_schema
from gristmill.storage import ParquetWriter, cut_by_bytes, read_tables
from gristmill.tokenize.tokenizers import SentencePiece, Tokenizer, checked

# A document's tokens include the EOS that ends it, which counts no byte; `unit` is what the held-out split
# draws on.
INDEX = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("unit", pa.binary(16), nullable=False),
        pa.field("tokens", pa.uint32(), nullable=False),
        pa.field("bytes", pa.uint32(), nullable=False),
    ]
)
_BATCH_BYTES = 4 << 20
_META_SYMBOL = "\u2581"


def encode(tokenizer: Tokenizer, documents: Path, payload: Path, index: Path) -> dict[str, int]:
    """Encode one file of documents and return its counts.

    Numeric pass-through columns go into the index as float64, so that a mixture can weight documents by them.
    `lossy` counts U+2581, which SentencePiece reads as a blank.
    """
    names = parquet_schema(documents).names
    extra = numeric_columns(documents)
    columns = ["id", "text", *(name for name in (UNIT_COLUMN, *extra) if name in names)]
    schema = pa.schema([*INDEX, *(pa.field(name, pa.float64()) for name in extra)])
    counts = {"documents": 0, "tokens": 0, "bytes": 0, "lossy": 0}
    batches = (
        batch
        for table in read_tables(documents, list(dict.fromkeys(columns)))
        for batch in cut_by_bytes(table, _BATCH_BYTES)
    )
    with payload.open("wb") as file, ParquetWriter(index, schema) as writer:
        for batch in batches:
            texts = pc.fill_null(batch["text"], "")
            tokens, ends = flat(tokenizer.encode_batch(texts.to_pylist()), tokenizer.eos_id)
            checked(tokens, tokenizer.vocab_size, str(documents)).tofile(file)
            sizes = pc.binary_length(texts).cast(pa.uint32())
            values = {
                "id": batch["id"],
                "unit": units(batch),
                "tokens": np.diff(ends, prepend=0).astype("u4"),
                "bytes": sizes,
            }
            values |= {name: batch[name].cast(pa.float64()) for name in extra}
            writer.write(pa.table(values, schema=schema))
            counts["documents"] += batch.num_rows
            counts["tokens"] += len(tokens)
            counts["bytes"] += int(pc.sum(sizes).as_py() or 0)
            if isinstance(tokenizer, SentencePiece):
                counts["lossy"] += int(pc.sum(pc.count_substring(texts, _META_SYMBOL)).as_py() or 0)
    return counts


def flat(batch: Sequence[Sequence[int]], eos_id: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Lay documents end to end, each closed by EOS; return the ids and where each document ends."""
    lengths = np.fromiter(map(len, batch), np.int64, len(batch))
    ends = np.cumsum(lengths + 1)
    out = np.full(int(ends[-1]) if len(batch) else 0, eos_id, np.int64)
    inside = np.ones(len(out), np.bool_)
    inside[ends - 1] = False
    out[inside] = np.fromiter(chain.from_iterable(batch), np.int64, int(lengths.sum()))
    return out, ends


def numeric_columns(documents: Path) -> list[str]:
    """The pass-through columns that can weight a document."""
    kinds = (pa.types.is_integer, pa.types.is_floating)
    own = {*INDEX.names, "language_score"}
    return [
        f.name for f in parquet_schema(documents) if f.name not in own and any(kind(f.type) for kind in kinds)
    ]
