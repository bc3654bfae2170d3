"""Encode documents once: a payload of tokens and an index with a row per document, in the order of the
documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.arrays import put_array
from gristmill.cells import TOPIC, Cells, add_cells, in_cells, sum_cells
from gristmill.document import FAILED
from gristmill.files.disk import named
from gristmill.files.parquet import num_parquet_rows, parquet_schema
from gristmill.files.storage import ParquetWriter, cut_by_bytes, read_tables
from gristmill.hashing import uniform
from gristmill.heldout import UNIT_COLUMN, units
from gristmill.token_shards import token_dtype
from gristmill.tokenize.encoding.encoder import EncodedTexts, Encoder
from gristmill.tokenize.mixing.ranges import copy_ranges
from gristmill.tokenize.training.losses import losses

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
REFUSED = "not_encoded"  # the error that documents leave by which no encoder takes
_BATCH_BYTES = 4 << 20
_SAMPLE_DOCUMENTS, _SAMPLE_CHARACTERS = 64, 2048
_HELD_BYTES = 16 << 20  # of a file's documents, so that one that is no larger is read once


@dataclass(slots=True)
class Encoded:
    """What encoding one file came to.

    `losses` counts the documents of the sample by kind; `failed` names those without ids, with their origin.
    """

    counts: dict[str, int]
    facts: dict[str, Any]
    losses: Counter[str]
    failed: pa.Table
    failed_bytes: int = 0
    cells: Cells | None = None  # documents and tokens of each cell, where documents lie in cells


def encode(encoder: Encoder, documents: Path, payload: Path, index: Path) -> Encoded:
    """Encode one file of documents.

    Numeric pass-through columns go into the index as float64, so that a mixture can weight documents by them,
    and with them the topic.
    Before, a hash sample of the documents is encoded by the reference: the fast encoder is held to it, and
    what does not come back is counted by kind.
    """
    names = parquet_schema(documents).names
    extra = numeric_columns(documents)
    wanted = (UNIT_COLUMN, "url", "source", "origin", *extra, TOPIC)
    columns = ["id", "text", *(name for name in wanted if name in names)]
    kinds = {**dict.fromkeys(extra, pa.float64()), **({TOPIC: pa.string()} if TOPIC in names else {})}
    schema = pa.schema([*INDEX, *(pa.field(name, kind) for name, kind in kinds.items())])
    cells: list[Cells] = []
    tokenizer = encoder.tokenizer
    texts, tables = _sampled(documents, list(dict.fromkeys(columns)))
    lost = losses(tokenizer, texts, encoder.examine(texts))
    counts = {"documents": 0, "tokens": 0, "bytes": 0}
    failed, failed_bytes = [FAILED.empty_table()], 0
    batches = (batch for table in tables for batch in cut_by_bytes(table, _BATCH_BYTES))
    with named(payload), payload.open("wb") as file, ParquetWriter(index, schema) as writer:
        for batch in batches:
            texts_now = pc.fill_null(batch["text"].combine_chunks(), "").cast(pa.large_string())
            found = encoder.encode(texts_now)
            sizes = pc.binary_length(texts_now).cast(pa.uint32())
            if found.refused:
                failed.append(_failures(batch, sizes, found.refused))
                failed_bytes += int(pc.sum(failed[-1]["payload_bytes"]).as_py())
                keep = np.ones(batch.num_rows, np.bool_)
                keep[list(found.refused)] = False
                batch, sizes = batch.filter(pa.array(keep)), sizes.filter(pa.array(keep))
                found.lengths = found.lengths[keep]
            put_array(file, closed(found, tokenizer.ending.id, token_dtype(tokenizer.vocab_size)))
            values = {
                "id": batch["id"],
                "unit": units(batch),
                "tokens": (found.lengths + 1).astype("u4"),
                "bytes": sizes,
            }
            values |= {name: batch[name].cast(kind) for name, kind in kinds.items()}
            writer.write(pa.table(values, schema=schema))
            if in_cells(kinds):
                cells.append(sum_cells(batch, tokens=pa.array(found.lengths + 1, pa.int64())))
            counts["documents"] += batch.num_rows
            counts["tokens"] += int(found.lengths.sum()) + batch.num_rows
            counts["bytes"] += int(pc.sum(sizes).as_py() or 0)
    counts |= {"failed": sum(map(len, failed)), "by_reference": encoder.num_by_reference}
    summed = add_cells(cells) if in_cells(kinds) else None
    return Encoded(counts, encoder.facts, lost, pa.concat_tables(failed), failed_bytes, summed)


def closed(found: EncodedTexts, eos_id: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Lay documents end to end in the shards' type, each closed by EOS."""
    out = np.full(len(found.tokens) + len(found.lengths), eos_id, dtype)
    starts = np.cumsum(found.lengths) - found.lengths
    copy_ranges(found.tokens, starts, out, starts + np.arange(len(starts)), found.lengths)
    return out


def flat(batch: Sequence[Sequence[int]], eos_id: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Lay documents end to end, each closed by EOS; return the ids and where each document ends."""
    lengths = np.fromiter(map(len, batch), np.int64, len(batch))
    ends = np.cumsum(lengths + 1)
    out = np.full(int(ends[-1]) if len(batch) else 0, eos_id, np.int64)
    inside = np.ones(len(out), np.bool_)
    inside[ends - 1] = False
    out[inside] = np.fromiter(chain.from_iterable(batch), np.int64, int(lengths.sum()))
    return out, ends


def _sampled(documents: Path, columns: list[str]) -> tuple[list[str], Iterable[pa.Table]]:
    """Some documents of a file, chosen by hash: the first characters of each; and the file's tables, which
    are read again only where the file is too large to be held."""
    fraction = _SAMPLE_DOCUMENTS / max(1, num_parquet_rows(documents))
    texts: list[str] = []
    held, num_bytes = list[pa.Table](), 0
    for table in read_tables(documents, columns):
        chosen = pa.array(uniform(0, "encode.sample", table["id"].combine_chunks()) < fraction)
        sample = pc.utf8_slice_codeunits(table["text"].filter(chosen), 0, _SAMPLE_CHARACTERS)
        texts += (text or "" for text in sample.to_pylist())
        num_bytes += table.nbytes
        held = [*held, table] if num_bytes <= _HELD_BYTES else []
    return texts, held if num_bytes <= _HELD_BYTES else read_tables(documents, columns)


def _failures(batch: pa.Table, sizes: pa.Array, refused: dict[int, str]) -> pa.Table:
    """The rows of documents that no encoder takes, in the schema of failures."""
    rows = pa.array(list(refused), pa.int64())
    lost = batch.take(rows)
    count = len(rows)
    values = {
        "id": lost["id"],
        "url": lost["url"] if "url" in lost.schema.names else pa.nulls(count, pa.string()),
        "source": lost["source"],
        "error": pa.array([REFUSED] * count),
        "message": pa.array(list(refused.values())),
        "origin": lost["origin"],
        "payload_bytes": sizes.take(rows).cast(pa.int64()),
    }
    return pa.table(values).cast(FAILED)


def numeric_columns(documents: Path) -> list[str]:
    """The pass-through columns that can weight a document."""
    kinds = (pa.types.is_integer, pa.types.is_floating)
    own = {*INDEX.names, "language_score"}
    return [
        f.name for f in parquet_schema(documents) if f.name not in own and any(kind(f.type) for kind in kinds)
    ]
