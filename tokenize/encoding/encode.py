"""Encode documents once: a payload of tokens and an index with a row per document, in the order of the
documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which columns are read of a file, and what of them goes into the index beside `INDEX`, as what."""

    columns: list[str]
    extra: dict[str, pa.DataType]

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([*INDEX, *(pa.field(name, kind) for name, kind in self.extra.items())])


def _layout(documents: Path) -> _Layout:
    names = parquet_schema(documents).names
    numeric = numeric_columns(documents)
    wanted = (UNIT_COLUMN, "url", "source", "origin", *numeric, TOPIC)
    columns = ["id", "text", *(name for name in wanted if name in names)]
    kinds = {**dict.fromkeys(numeric, pa.float64()), **({TOPIC: pa.string()} if TOPIC in names else {})}
    return _Layout(list(dict.fromkeys(columns)), kinds)


def encode(encoder: Encoder, documents: Path, payload: Path, index: Path) -> Encoded:
    """Encode one file of documents.

    Numeric pass-through columns go into the index as float64, so that a mixture can weight documents by them,
    and with them the topic.
    A hash sample of the documents is encoded by the reference: the fast encoder is held to it, and what does
    not come back is counted by kind. Where it differs the reference encodes the whole file, what was encoded
    before among it.
    """
    layout = _layout(documents)
    encoder.begin()
    encoded = None
    while encoded is None:  # at most twice: the reference is held to nothing
        encoded = _encode(encoder, documents, payload, index, layout)
    return encoded


def _encode(encoder: Encoder, documents: Path, payload: Path, index: Path, layout: _Layout) -> Encoded | None:
    """Encode the file once; None where the fast encoder came to differ from the reference when documents were
    encoded by it already."""
    encoder.num_by_reference = 0
    by, fraction = encoder.why, _SAMPLE_DOCUMENTS / max(1, num_parquet_rows(documents))
    done = _Done()
    with named(payload), payload.open("wb") as file, ParquetWriter(index, layout.schema) as writer:
        for table in read_tables(documents, layout.columns):
            sample = _sampled(table, fraction)
            done.losses.update(losses(encoder.tokenizer, sample, encoder.examine(sample)))
            if encoder.why != by and done.counts["documents"]:
                return None
            by = encoder.why
            for batch in cut_by_bytes(table, _BATCH_BYTES):
                tokens, rows = _encode_batch(encoder, batch, layout, done)
                put_array(file, tokens)
                writer.write(rows)
    counts = {
        **done.counts,
        "failed": sum(map(len, done.failed)),
        "by_reference": encoder.num_by_reference,
    }
    summed = add_cells(done.cells) if in_cells(layout.extra) else None
    failed = pa.concat_tables(done.failed)
    return Encoded(counts, encoder.facts, done.losses, failed, done.failed_bytes, summed)


@dataclass(slots=True)
class _Done:
    """What the batches of a file came to so far."""

    counts: dict[str, int] = field(default_factory=lambda: {"documents": 0, "tokens": 0, "bytes": 0})
    losses: Counter[str] = field(default_factory=lambda: Counter({"checked": 0}))
    failed: list[pa.Table] = field(default_factory=lambda: [FAILED.empty_table()])
    failed_bytes: int = 0
    cells: list[Cells] = field(default_factory=list)


def _encode_batch(
    encoder: Encoder, batch: pa.Table, layout: _Layout, done: _Done
) -> tuple[npt.NDArray[Any], pa.Table]:
    """The tokens of a batch of documents, in the shards' type, and their rows of the index."""
    texts = pc.fill_null(batch["text"].combine_chunks(), "").cast(pa.large_string())
    found = encoder.encode(texts)
    sizes = pc.binary_length(texts).cast(pa.uint32())
    if found.refused:
        done.failed.append(_failures(batch, sizes, found.refused))
        done.failed_bytes += int(pc.sum(done.failed[-1]["payload_bytes"]).as_py())
        keep = np.ones(batch.num_rows, np.bool_)
        keep[list(found.refused)] = False
        batch, sizes = batch.filter(pa.array(keep)), sizes.filter(pa.array(keep))
        found.lengths = found.lengths[keep]
    values = {
        "id": batch["id"],
        "unit": units(batch),
        "tokens": (found.lengths + 1).astype("u4"),
        "bytes": sizes,
    }
    # A whole number above 2^53, such as a time in nanoseconds, is rounded to the nearest float.
    values |= {name: batch[name].cast(kind, safe=False) for name, kind in layout.extra.items()}
    if in_cells(layout.extra):
        done.cells.append(sum_cells(batch, tokens=pa.array(found.lengths + 1, pa.int64())))
    done.counts["documents"] += batch.num_rows
    done.counts["tokens"] += int(found.lengths.sum()) + batch.num_rows
    done.counts["bytes"] += int(pc.sum(sizes).as_py() or 0)
    tokenizer = encoder.tokenizer
    tokens = closed(found, tokenizer.ending.id, token_dtype(tokenizer.vocab_size))
    return tokens, pa.table(values, schema=layout.schema)


def _sampled(table: pa.Table, fraction: float) -> list[str]:
    """Some documents, chosen by hash: the first characters of each."""
    chosen = pa.array(uniform(0, "encode.sample", table["id"].combine_chunks()) < fraction)
    sample = pc.utf8_slice_codeunits(table["text"].filter(chosen), 0, _SAMPLE_CHARACTERS)
    return [text or "" for text in sample.to_pylist()]


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
