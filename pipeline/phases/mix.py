"""Mix encoded sources into shuffled shards: measure, plan, bound, assign (map), write (reduce), and the
manifests last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from gristmill.arrays import read_array
from gristmill.disk import copy_file
from gristmill.errors import BooksError
from gristmill.facts import Counts, Facts
from gristmill.ledger import Books
from gristmill.manifest import TaskRecord
from gristmill.parquet import read_parquet
from gristmill.pipeline.phases.encode import tokenizer_facts
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.stages.mix import MixFacts, MixSlice
from gristmill.stores import store_of
from gristmill.token_shards import MANIFEST, SUFFIXES, token_dtype
from gristmill.tokenize import mix as mixing
from gristmill.tokenize.gates import SIZES_SHAPE, gates_of
from gristmill.tokenize.gather import MapOutput, write_shard
from gristmill.tokenize.places import Take
from gristmill.tokenize.plan import MixPlan, Size, SourcePlan, make_plan
from gristmill.tokenize.realised import add_realised, misses
from gristmill.tokenize.settings import MixSettings, TokenizerSettings
from gristmill.tokenize.shards import manifest_body
from gristmill.tokenize.tokenizers import open_tokenizer, resolved, tokenizer_sha256

BUDGET = "mix.budget"
SPLITS = ("train", "heldout")
FEW_DOCUMENTS = 10  # of a source with fewer, none held out is no surprise


@dataclass(frozen=True, slots=True)
class Measured(Facts):
    """Documents, tokens and bytes of one encoded file, by split."""

    train: dict[str, int]
    heldout: dict[str, int]


@dataclass(frozen=True, slots=True)
class Gates(Facts):
    """The sizes up to which a source's documents are taken, by level."""

    gates: list[int]


@dataclass(frozen=True, slots=True)
class FoundBound(Facts):
    """The fields of a `CutOff`; its levels as text, since they need more bits than JSON readers promise."""

    bound: dict[str, Any]


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
class Written(Counts):
    tokens: int = 0
    docs: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ShardEntry(Facts):
    """A shard as its manifest names it, and its sums by source."""

    entry: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """One encoded file: its payload, its index, and whose documents it holds."""

    payload: str
    index: str
    source: str


def mix(job: Job[MixSlice]) -> Stage:
    settings = job.settings.mix
    encoded, (tokenizer,) = encoded_files(job), job.paths("tokenizer")
    names = list(dict.fromkeys(part.source for part in encoded))
    measured = yield over_files("measure", measure_file, encoded)
    sizes = {split: {name: _size(measured, encoded, name, split) for name in names} for split in SPLITS}
    plan = make_plan(settings, sizes["train"])
    gated = yield Phase("gates", [_gates_task(job, row, measured, encoded) for row in plan.rows])
    gates = {row.source: record.stated(Gates).gates for row, record in zip(plan.rows, gated, strict=True)}
    levelled = yield over_files("levels", level_file, encoded, gates=gates)
    bounded = yield Phase("bound", [_bound_task(job, row, levelled, encoded, settings) for row in plan.rows])
    bounds = {row.source: _bound_of(record) for row, record in zip(plan.rows, bounded, strict=True)}
    takes = plan_takes(settings, plan, bounds, gates, sizes["heldout"], names)
    tokenizer_settings = resolved(job.settings.tokenizer, tokenizer_facts(job))
    opened = open_tokenizer(tokenizer, tokenizer_settings)
    dtype = token_dtype(opened.vocab_size).str
    spelling = {"tokenizer": str(tokenizer), "tokenizer_settings": tokenizer_settings}
    assigned = yield over_files(
        "assign", assign_file, encoded, dtype=dtype, takes=takes, eos_id=opened.eos_id, **spelling
    )
    written = {}
    for split in SPLITS:
        written[split] = yield write_phase(job, split, encoded, assigned, takes[split], dtype)
    check_tokens(assigned, written["train"])
    tables = {split: realised(split, names, sizes[split], written[split], plan, settings) for split in SPLITS}
    if settings.kind == "mixed":  # else the trainer takes what its weights say
        reasons = {name: bound.reason for name, bound in bounds.items()}
        shares = {row.source: row.proportion for row in plan.rows}
        add_realised(tables["train"], shares, {row.source: row.tokens for row in plan.rows}, reasons)
    arguments = {**spelling, "dtype": dtype}
    tasks = [
        Task(
            split,
            write_manifest,
            {**arguments, "split": split, "table": tables[split], "shards": _entries(written[split])},
        )
        for split in SPLITS
    ]
    yield Phase("manifests", tasks)
    passing = [entry.path for record in (*measured, *levelled, *assigned) for entry in record.files]
    store_of(job.folder).remove_files([job.folder / path for path in passing])
    pairs = zip(encoded, assigned, strict=True)
    cuts = {part.source: cut for part, record in pairs if (cut := record.stated(CutDocument).cut)}
    return MixFacts(
        notes=heldout_notes(settings.heldout_fraction, sizes) or None,
        planned=plan.table(),
        table=tables["train"],
        heldout=tables["heldout"],
        tokens=plan.tokens,
        misses=misses(tables["train"]),
        sizes={name: size.tokens for name, size in sizes["train"].items()},
        distinct_tokens={
            name: Assigned.total(record for record, _ in _of(assigned, encoded, name)).distinct_tokens
            for name in names
        },
        cut=cuts,
        places={
            split: {
                name: [take.first_shard, take.num_shards, take.copies] for name, take in takes[split].items()
            }
            for split in SPLITS
        },
        replaced_files=passing,
    )


def heldout_notes(fraction: float, sizes: Mapping[str, Mapping[str, Size]]) -> list[str]:
    """Name the sources of which nothing is held out, though they have ten documents or more."""
    notes = []
    for name, held in sizes["heldout"].items():
        docs = sizes["train"][name].docs
        if fraction and not held.docs and docs >= FEW_DOCUMENTS:
            enough = min(0.5, 3 / docs)  # of which 95 % of draws hold one out at least
            notes.append(
                f"`{name}`: none of {docs:,} documents is held out at `mix.heldout_fraction` {fraction:g}, so"
                f" no loss is measured on it; {max(enough, 2 * fraction):.2g} would hold some out"
            )
    return notes


def encoded_files(job: Job[MixSlice]) -> list[EncodedFile]:
    """Pair every payload with its index, in the order of the inputs."""
    pairs = zip(job.files("tokens"), job.files("token-index"), strict=True)
    return [
        EncodedFile(str(payload), str(index), entry.source or "") for (payload, entry), (index, _) in pairs
    ]


def over_files(name: str, function: Any, encoded: Sequence[EncodedFile], **common: Any) -> Phase:
    return Phase(
        name, [Task(f"{number:05d}", function, {"part": part}) for number, part in enumerate(encoded)], common
    )


def measure_file(task: Attempt[MixSlice], part: EncodedFile) -> None:
    path = task.scratch / "sizes.u64"
    found = mixing.measure(Path(part.index), task.settings.mix, task.seed, path)
    task.record.state(Measured(asdict(found.training), asdict(found.heldout)))
    task.publish(path, "sizes", source=part.source)


def _gates_task(
    job: Job[MixSlice], row: SourcePlan, measured: Sequence[TaskRecord], encoded: Sequence[EncodedFile]
) -> Task:
    sizes = [str(job.folder / record.files[0].path) for record, _ in _of(measured, encoded, row.source)]
    return Task(row.source, gate_source, {"sizes": sizes, "mean_tokens": row.size.tokens / row.size.docs})


def gate_source(task: Attempt[MixSlice], sizes: Sequence[str], mean_tokens: float) -> None:
    total = sum(read_array(path, "<u8").reshape(SIZES_SHAPE) for path in sizes)
    task.record.state(Gates(gates_of(np.asarray(total, np.uint64), mean_tokens)))


def level_file(task: Attempt[MixSlice], part: EncodedFile, gates: Mapping[str, Sequence[int]]) -> None:
    path = task.scratch / "levels.run"
    mixing.levels(
        Path(part.index), task.settings.mix, part.source, task.seed, gates.get(part.source, ()), path
    )
    task.publish(path, "levels", source=part.source)


def _bound_task(
    job: Job[MixSlice],
    row: SourcePlan,
    levelled: Sequence[TaskRecord],
    encoded: Sequence[EncodedFile],
    settings: MixSettings,
) -> Task:
    levels = [str(job.folder / record.files[0].path) for record, part in _of(levelled, encoded, row.source)]
    once = settings.kind == "sources"  # the trainer repeats and blends
    arguments = {
        "levels": levels,
        "tokens": row.size.tokens if once else row.tokens,
        "available": row.size.tokens,
        "weighted": row.source in settings.weights and not once,
        "split": settings.split_documents,
    }
    return Task(row.source, bound_source, arguments)


def bound_source(
    task: Attempt[MixSlice], levels: Sequence[str], tokens: int, available: int, weighted: bool, split: bool
) -> None:
    paths = [Path(path) for path in levels]
    bound = mixing.find_bound(paths, tokens, available, weighted=weighted, split=split)
    # Levels need more bits than JSON readers promise.
    levels_ = {"level": str(bound.level), "cut_level": str(bound.cut_level)}
    task.record.state(FoundBound({**asdict(bound), **levels_}))


def _bound_of(record: TaskRecord) -> mixing.CutOff:
    bound = record.stated(FoundBound).bound
    levels = {name: int(bound[name]) for name in ("level", "cut_level")}
    return mixing.CutOff(**{**bound, **levels})


def plan_takes(
    settings: MixSettings,
    plan: MixPlan,
    bounds: Mapping[str, mixing.CutOff],
    gates: Mapping[str, Sequence[int]],
    heldout: Mapping[str, Size],
    names: Sequence[str],
) -> dict[str, dict[str, Take]]:
    """What each split takes of each source, and over which shards; sources the mixture leaves out take
    nothing.

    All sources share all shards, but in the training split of kind `sources`: there each has shards of its
    own.
    """
    total = {"train": plan.tokens, "heldout": sum(size.tokens for size in heldout.values())}
    held = {row.source: row.size.tokens for row in plan.rows}
    takes: dict[str, dict[str, Take]] = {split: {} for split in SPLITS}
    for split in SPLITS:
        apart, first = split == "train" and settings.kind == "sources", 0
        for number, name in enumerate(names):
            tokens = held.get(name, 0) if apart else total[split]
            count = max(1, -(-tokens // settings.shard_tokens))
            bound = bounds.get(name, mixing.CutOff(-1))
            copies = mixing.most_copies(settings, name, bound) if split == "train" else 1
            takes[split][name] = Take(
                name, number, split, first, count, bound.level, copies,
                tuple(gates.get(name, ())), bound.cut_level, bound.cut_tokens,
            )  # fmt: skip
            first += count if apart else 0
    return takes


def assign_file(
    task: Attempt[MixSlice],
    part: EncodedFile,
    dtype: str,
    takes: Mapping[str, Mapping[str, Take]],
    eos_id: int,
    tokenizer: str,
    tokenizer_settings: TokenizerSettings,
) -> None:
    """Place every copy; book each document as kept, held out, or removed because the budget has no room for
    it."""

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
    books.by_rule_first[BUDGET] = books.by_rule_any[BUDGET] = books.items_out["removed"]
    task.record.books = books
    train = found["train"]
    assigned = Assigned(train.copies, train.tokens, train.bytes, train.distinct_tokens)
    task.record.state(assigned, CutDocument(train.cut))


def write_phase(
    job: Job[MixSlice],
    split: str,
    encoded: Sequence[EncodedFile],
    assigned: Sequence[TaskRecord],
    takes: Mapping[str, Take],
    dtype: str,
) -> Phase:
    """One task per shard; all are told of every map task's files, and pick those that have copies for their
    shard."""
    stems = [
        (
            str(job.folder / "passing" / f"{record.task}-{split}"),
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
    parts = [MapOutput(Path(stem), number - first) for stem, first, num in stems if 0 <= number - first < num]
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


def _entries(written: Sequence[TaskRecord]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.stated(ShardEntry).entry.items() if key != "per_source"}
        for record in written
    ]


def _size(measured: Sequence[TaskRecord], encoded: Sequence[EncodedFile], name: str, split: str) -> Size:
    found = [getattr(record.stated(Measured), split) for record, _ in _of(measured, encoded, name)]
    return Size(*(sum(part[key] for part in found) for key in ("docs", "tokens", "bytes")))


def _of(
    records: Sequence[TaskRecord], encoded: Sequence[EncodedFile], source: str
) -> list[tuple[TaskRecord, EncodedFile]]:
    return [(record, part) for record, part in zip(records, encoded, strict=True) if part.source == source]
