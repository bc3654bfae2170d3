"""Place every copy of a file's documents, in the order of the shards, and book each document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from gristmill.cells import Cells
from gristmill.facts import Counts, Facts
from gristmill.files.parquet import read_parquet
from gristmill.ledger import Books
from gristmill.pipeline.phases.mix.measured import EncodedFile
from gristmill.pipeline.run.job import Attempt
from gristmill.pipeline.stages.mix import MixSlice
from gristmill.tokenize.encoding.tokenizers import open_tokenizer
from gristmill.tokenize.mixing import mix as mixing
from gristmill.tokenize.mixing.places import Take
from gristmill.tokenize.settings import TokenizerSettings

BUDGET = "mix.budget"
CURVE = "mix.curve"  # of documents that a curve takes never
SPLITS = ("train", "heldout")


@dataclass(frozen=True, slots=True)
class Assigned(Counts):
    """Copies placed in training shards, their tokens and bytes, and tokens without their repetition."""

    copies: int = 0
    tokens: int = 0
    bytes: int = 0
    distinct_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CutDocument(Facts):
    """The document that is taken in part, where there is one."""

    cut: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TakenCells(Facts):
    """Copies and their tokens by cell, where a curve weighs cells."""

    taken_cells: Cells | None = None


def assign_file(
    task: Attempt[MixSlice],
    part: EncodedFile,
    dtype: str,
    takes: Mapping[str, Mapping[str, Take]],
    eos_id: int,
    tokenizer: str,
    tokenizer_settings: TokenizerSettings,
) -> None:
    """Place every copy; book each document as kept, held out, or removed because its curve takes it never or
    the budget has no room for it."""

    def text_bytes(ids: Any) -> int:
        text = open_tokenizer(Path(tokenizer), tokenizer_settings).decode(ids)
        return len(text.rstrip("\ufffd").encode())  # the cut may lie within a character

    found = {}
    for split in SPLITS:
        out = task.scratch / split
        take = takes[split][part.source]
        found[split] = mixing.assign(
            Path(part.payload),
            Path(part.index),
            dtype,
            task.settings.mix,
            take,
            task.seed,
            out,
            eos_id,
            text_bytes,
        )
        for suffix in (".bin", ".entries", ".cuts"):
            # Readers find the three by their common stem, so their names carry no digest.
            name = f"passing/{task.record.task}-{split}{suffix}"
            task.publish(out.with_suffix(suffix), f"passing-{split}", source=part.source, name=name)
    table = read_parquet(Path(part.index), ["bytes"])
    books = Books(table.num_rows, int(pc.sum(table["bytes"]).as_py() or 0))
    for outlet, split in (("kept", "train"), ("heldout", "heldout")):
        books.items_out[outlet] = found[split].documents
        books.bytes_out[outlet] = found[split].document_bytes
    books.items_out["removed"] = books.items_in - sum(books.items_out.values())
    books.bytes_out["removed"] = books.bytes_in - sum(books.bytes_out.values())
    left_out = found["train"].left_out
    for rule, removed in ((BUDGET, books.items_out["removed"] - left_out), (CURVE, left_out)):
        if removed or rule == BUDGET:
            books.by_rule_first[rule] = books.by_rule_any[rule] = removed
    task.record.books = books
    train = found["train"]
    assigned = Assigned(train.copies, train.tokens, train.bytes, train.distinct_tokens)
    task.record.state(assigned, CutDocument(train.cut), TakenCells(train.cells))
