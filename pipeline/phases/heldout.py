"""Find held-out documents that lie inside others, list them, and move them to training where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gristmill.dedup import heldout as splitting
from gristmill.dedup.heldout import Index, Split
from gristmill.dedup.sorted.runs import key_range, num_parts
from gristmill.dedup.sorted.shards import read_batches
from gristmill.document import removed_schema, text_bytes
from gristmill.facts import Counts
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import ParquetWriter
from gristmill.pipeline.phases.adopt import extra_fields
from gristmill.pipeline.phases.dedup.applied import CARRIED
from gristmill.pipeline.phases.shuffle import (
    DocumentFile,
    files,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
)
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.stages.heldout import HeldoutFacts, HeldoutSlice

LIST_FILE = "contained.parquet"


@dataclass(frozen=True, slots=True)
class Indexed(Counts):
    documents: int = 0
    ngrams: int = 0


@dataclass(frozen=True, slots=True)
class Merged(Counts):
    ngrams: int = 0
    common_ngrams: int = 0


@dataclass(frozen=True, slots=True)
class Sized(Counts):
    without_ngrams: int = 0


@dataclass(frozen=True, slots=True)
class Decided(Counts):
    found: int = 0
    moved: int = 0


def heldout(job: Job[HeldoutSlice]) -> Stage:
    piece = job.settings
    shards = [shard for shard in shards_of(job) if shard.source in piece.sources]
    indexed = yield over_shards("index", index_shard, shards)
    counts = [record.stated(Indexed) for record in indexed]
    first_items = [0, *accumulate(one.documents for one in counts)]
    runs = files(job, indexed, "heldout-ngrams")
    parts = num_parts(sum(one.ngrams for one in counts), splitting.PART_RECORDS)
    merged = yield over_parts("merge", merge_part, parts, runs=runs, first_items=first_items[:-1])
    documents = files(job, indexed, "heldout-documents")
    arguments = {"documents": documents, "common": files(job, merged, "common-ngrams")}
    sized = yield Phase("sizes", [Task("all", sum_sizes, arguments)])
    index = {"runs": files(job, merged, "ngrams"), "sizes": files(job, sized, "sizes")[0]}
    tasks = [
        Task(f"{number:05d}", probe_shard, {"shard": shard, "first_item": first})
        for number, (shard, first) in enumerate(zip(shards, first_items[:-1], strict=True))
    ]
    probed = yield Phase("probe", tasks, index)
    arguments = {"documents": documents, "probed": files(job, probed, "containers")}
    decided = yield Phase("decide", [Task("all", decide, arguments)])
    if piece.heldout.decontaminate == "move":
        yield over_shards("apply", apply_shard, shards, targets=files(job, decided, "targets")[0])
    facts = HeldoutFacts(
        heldout=first_items[-1],
        **Decided.total(decided).as_json(),
        common_ngrams=Merged.total(merged).common_ngrams,
        without_ngrams=Sized.total(sized).without_ngrams,
    )
    return HeldoutFacts(
        **facts.as_json(),
        notes=[said(piece, facts)],
        replaced_files=passed_on(job, indexed, merged, sized, probed, decided, but=("contained",)),
    )


def said(piece: HeldoutSlice, facts: HeldoutFacts) -> str:
    """What was found, for the terminal and the page."""
    share, n = piece.heldout.min_share, piece.heldout.ngram
    what = (
        f"{facts.found:,} of {facts.heldout:,} held-out documents have {share:.0%} or more of their {n}-grams"
        f" in one document of training (listed in {LIST_FILE})"
    )
    moves = piece.heldout.decontaminate == "move"
    after = f"; {facts.moved:,} moved to training, with what is held out as one with them" if moves else ""
    silent = f"; {facts.without_ngrams:,} have only {n}-grams that more than {splitting.MOST} share"
    return what + after + (silent if facts.without_ngrams else "")


def _split(task: Attempt[HeldoutSlice]) -> Split:
    return Split(task.seed, task.settings.heldout_fraction)


def index_shard(task: Attempt[HeldoutSlice], shard: DocumentFile) -> None:
    run, documents = task.scratch / "ngrams.run", task.scratch / "documents.parquet"
    path = Path(shard.path)
    ngrams = splitting.index_shard(task.settings.heldout, _split(task), path, run, documents)
    rows = read_parquet(documents, columns=[]).num_rows
    task.record.state(Indexed(rows, ngrams))
    task.publish(run, "heldout-ngrams", ngrams)
    task.publish(documents, "heldout-documents", rows)


def merge_part(
    task: Attempt[HeldoutSlice], part: int, parts: int, runs: Sequence[str], first_items: Sequence[int]
) -> None:
    out, common = task.scratch / "ngrams.run", task.scratch / "common.items"
    paths = [Path(run) for run in runs]
    task.record.state(Merged(*splitting.merge_part(paths, first_items, *key_range(part, parts), out, common)))
    task.publish(out, "ngrams")
    task.publish(common, "common-ngrams")


def sum_sizes(task: Attempt[HeldoutSlice], documents: Sequence[str], common: Sequence[str]) -> None:
    out = task.scratch / "sizes.u32"
    paths = [Path(path) for path in documents], [Path(path) for path in common]
    task.record.state(Sized(splitting.sum_sizes(*paths, out)))
    task.publish(out, "sizes")


def probe_shard(
    task: Attempt[HeldoutSlice], shard: DocumentFile, first_item: int, runs: Sequence[str], sizes: str
) -> None:
    out = task.scratch / "containers.parquet"
    index = Index([Path(run) for run in runs], Path(sizes))
    where = Path(shard.path), first_item, index, out
    rows = splitting.probe_shard(task.settings.heldout, _split(task), *where)
    task.publish(out, "containers", rows)


def decide(task: Attempt[HeldoutSlice], documents: Sequence[str], probed: Sequence[str]) -> None:
    targets, found, moved = splitting.decide(
        [Path(path) for path in documents], [Path(path) for path in probed]
    )
    for table, schema, name, kind in (
        (targets, splitting.TARGETS, "targets.parquet", "targets"),
        (found, splitting.FOUND, LIST_FILE, "contained"),
    ):
        with ParquetWriter(task.scratch / name, schema) as writer:
            writer.write(table)
        task.publish(writer.path, kind, table.num_rows, name=name)
    moves = task.settings.heldout.decontaminate == "move"
    task.record.state(Decided(found.num_rows, moved if moves else 0))


def apply_shard(task: Attempt[HeldoutSlice], shard: DocumentFile, targets: str) -> None:
    path = Path(shard.path)
    before = list(extra_fields(path))
    known = {field.name for field in before}
    outcomes = Outcomes(task, shard.source, [*before, *(CARRIED[:1] if CARRIED[0].name not in known else ())])
    nothing = removed_schema(outcomes.schema).empty_table()
    moving = read_parquet(targets)
    for table in read_batches(path):
        moved = splitting.with_targets(table, moving)
        outcomes.take((table.num_rows, text_bytes(table)), moved, nothing)
    outcomes.publish()
