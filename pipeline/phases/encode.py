"""Encode a source's documents, each once: one task per file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.cells import Cells, add_cells
from gristmill.facts import Counts, Facts
from gristmill.ledger import Books
from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.stages.tokenizer import EncodeFacts, EncodeSlice, TokenizerFacts
from gristmill.tokenize.encoding.encode import REFUSED, Encoded
from gristmill.tokenize.encoding.encode import encode as encode_file
from gristmill.tokenize.encoding.encoder import encoder_of
from gristmill.tokenize.encoding.tokenizers import resolved
from gristmill.tokenize.settings import TokenizerSettings


@dataclass(frozen=True, slots=True)
class EncodedCounts(Counts):
    """Documents encoded with their tokens and bytes; failed ones, and those the reference encoded."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0
    failed: int = 0
    by_reference: int = 0


@dataclass(frozen=True, slots=True)
class EncodedBy(Facts):
    """What encoded a file, why the reference did, losses of a sample by kind; and sums by cell."""

    encoder: str
    losses: dict[str, int]
    encoder_why: str | None = None
    cells: Cells | None = None


def encode(job: Job[EncodeSlice]) -> Stage:
    (tokenizer,) = job.paths("tokenizer")
    source = job.settings.source
    settings = resolved(job.settings.tokenizer, tokenizer_facts(job).as_json())
    paths, common = job.paths("documents", source), {"tokenizer": str(tokenizer), "opened": settings}
    records = yield over_paths("encode", encode_shard, paths, may_lose=True, **common)
    encoded = [record.stated(EncodedBy) for record in records if not record.is_lost]
    losses: Counter[str] = Counter()
    for one in encoded:
        losses.update(one.losses)
    return EncodeFacts(
        **EncodedCounts.total(records).as_json(),
        losses={kind: losses[kind] for kind in sorted(losses)},
        lossy=losses["lossy"],
        encoders=sorted({one.encoder for one in encoded}),
        encoders_why=sorted({one.encoder_why for one in encoded if one.encoder_why}),
        cells=add_cells(cells) if (cells := [one.cells for one in encoded if one.cells]) else None,
    )


def tokenizer_facts(job: Job[Any]) -> TokenizerFacts:
    """What the tokenizer's step found out of its file: how its copy is to be opened."""
    (manifest,) = (manifest for manifest in job.inputs.values() if manifest.named("tokenizer"))
    return manifest.stated(TokenizerFacts)


def encode_shard(task: Attempt[EncodeSlice], path: str, tokenizer: str, opened: TokenizerSettings) -> None:
    source = task.settings.source
    payload, index = task.scratch / "tokens.bin", task.scratch / "index.parquet"
    found = encode_file(encoder_of(Path(tokenizer), opened), Path(path), payload, index)
    counts = EncodedCounts(**found.counts)
    task.record.state(counts, EncodedBy(**found.facts, losses=dict(found.losses), cells=found.cells))
    outcomes = Outcomes(task, source, kinds=("failed",), books=books_of(found))
    outcomes.fail(found.failed)
    outcomes.publish()
    task.publish(payload, "tokens", counts.tokens, source=source)
    task.publish(index, "token-index", counts.documents, source=source)


def books_of(found: Encoded) -> Books:
    """Every document leaves encoded, or failed because no encoder takes it."""
    counts = found.counts
    books = Books(counts["documents"] + counts["failed"], counts["bytes"] + found.failed_bytes)
    books.items_out |= {"kept": counts["documents"], "failed": counts["failed"]}
    books.bytes_out |= {"kept": counts["bytes"], "failed": found.failed_bytes}
    books.by_error[REFUSED] = counts["failed"]
    return books
