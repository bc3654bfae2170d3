"""Write shards, one task each, and last the manifest that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.errors import BooksError
from gristmill.facts import Counts, Facts
from gristmill.files.disk import copy_file
from gristmill.manifest import TaskRecord
from gristmill.pipeline.phases.mix.measured import EncodedFile
from gristmill.pipeline.phases.mix.placed import Assigned
from gristmill.pipeline.run.job import Attempt, Phase, Task
from gristmill.pipeline.stages.mix import MixSlice
from gristmill.token_shards import MANIFEST, SUFFIXES
from gristmill.tokenize.encoding.tokenizers import open_tokenizer, tokenizer_sha256
from gristmill.tokenize.mixing.gather import MapOutput, write_shard
from gristmill.tokenize.mixing.places import Take
from gristmill.tokenize.mixing.plan import MixPlan, Size
from gristmill.tokenize.settings import MixSettings, TokenizerSettings
from gristmill.tokenize.shards import manifest_body


@dataclass(frozen=True, slots=True)
class Written(Counts):
    tokens: int = 0
    docs: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ShardEntry(Facts):
    """A shard as its manifest names it, and its sums by source."""

    entry: dict[str, Any]


def write_phase(
    split: str,
    encoded: Sequence[EncodedFile],
    assigned: Sequence[TaskRecord],
    takes: Mapping[str, Take],
    dtype: str,
) -> Phase:
    """One task per shard; all are told of every map task's files, and pick those that have copies for their
    shard.

    The files are named below the step's folder: of one on remote storage a task reads its shard's stretch.
    """
    stems = [
        (
            f"passing/{record.task}-{split}",
            takes[part.source].first_shard,
            takes[part.source].num_shards,
        )
        for part, record in zip(encoded, assigned, strict=True)
    ]
    num_shards = max(take.first_shard + take.num_shards for take in takes.values())
    tasks = [Task(f"{number:05d}", write_one, {"number": number}) for number in range(num_shards)]
    return Phase(
        f"write-{split}", tasks, {"stems": stems, "split": split, "dtype": dtype, "num_sources": len(takes)}
    )


def write_one(
    task: Attempt[MixSlice],
    number: int,
    stems: Sequence[tuple[str, int, int]],
    split: str,
    dtype: str,
    num_sources: int,
) -> None:
    out = task.scratch / f"{number:05d}"
    parts = [
        MapOutput(task.folder / stem, number - first)
        for stem, first, num in stems
        if 0 <= number - first < num
    ]
    entry = write_shard(parts, out, dtype, num_sources)
    task.record.state(Written(entry["tokens"], entry["docs"], entry["bytes"]), ShardEntry(entry))
    for suffix in SUFFIXES:
        name = f"{out.name}{suffix}"
        task.publish(task.scratch / name, f"shard{suffix}", entry["docs"], name=f"shards/{split}/{name}")


def write_manifest(
    task: Attempt[MixSlice],
    split: str,
    table: Sequence[dict[str, Any]],
    shards: Sequence[dict[str, Any]],
    tokenizer: str,
    tokenizer_settings: TokenizerSettings,
    dtype: str,
) -> None:
    """Publish a copy of the tokenizer beside the shards, and last their manifest."""
    model = open_tokenizer(Path(tokenizer), tokenizer_settings)
    copy = task.scratch / Path(tokenizer).name
    copy_file(Path(tokenizer), copy)
    body = manifest_body(
        kind=task.settings.mix.kind if split == "train" else "mixed",
        vocab=model.vocab_size,
        dtype=dtype,
        eos_id=model.eos_id,
        split=split,
        tokenizer_file=copy.name,
        tokenizer_sha256=tokenizer_sha256(model),
        reading=model.reading.as_json(),
        sources=table,
        shards=shards,
    )
    path = task.scratch / MANIFEST
    path.write_bytes(body)
    task.publish(copy, "tokenizer", name=f"shards/{split}/{copy.name}")
    task.publish(path, "shard-manifest", name=f"shards/{split}/{MANIFEST}")


def realised(
    split: str,
    names: Sequence[str],
    sizes: Mapping[str, Size],
    written: Sequence[TaskRecord],
    plan: MixPlan,
    settings: MixSettings,
) -> list[dict[str, Any]]:
    """What came out of each source, with exact counts: LLaMA-1's table of the shards themselves."""
    shares = {row.source: row.proportion for row in plan.rows}
    rows = []
    for number, name in enumerate(names):
        sums = {
            key: sum(record.stated(ShardEntry).entry["per_source"][key][number] for record in written)
            for key in ("tokens", "bytes", "docs")
        }
        epochs = sums["tokens"] / sizes[name].tokens if sizes[name].tokens else 0.0
        if split == "train" and settings.kind == "sources":
            epochs = settings.epochs_cap(name)  # what the trainer may repeat
        rows.append(
            {
                "name": name,
                **sums,
                "epochs": epochs,
                "weight": shares.get(name, 0.0) if split == "train" else 0.0,
            }
        )
    return rows


def check_tokens(assigned: Sequence[TaskRecord], written: Sequence[TaskRecord]) -> None:
    expected, found = Assigned.total(assigned).tokens, Written.total(written).tokens
    if expected != found:
        raise BooksError(
            f"the books of mix do not balance: {expected:,} tokens were assigned, {found:,} written"
        )


def entries_of(written: Sequence[TaskRecord]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.stated(ShardEntry).entry.items() if key != "per_source"}
        for record in written
    ]
