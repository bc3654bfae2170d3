"""Near duplicates of all sources together: signatures, components of what shares a band key, verification.

Each phase is a set of tasks over shards, or over ranges of sorted keys; what passes between them are files
that later phases read ranges of. Rows are dense numbers in the order of the input files; nothing that is kept
depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gristmill.dedup.decisions import DECISIONS
from gristmill.dedup.near import cluster, fuzzy
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.runs import key_range, num_parts
from gristmill.dedup.sorted.stars import EDGE_BYTES
from gristmill.facts import Counts
from gristmill.files.location import ByRange, location
from gristmill.files.parquet import read_parquet
from gristmill.pipeline.phases.dedup import index
from gristmill.pipeline.phases.dedup.applied import check_alarm, write_applied
from gristmill.pipeline.phases.dedup.components import find_components
from gristmill.pipeline.phases.dedup.giants import verify_giants
from gristmill.pipeline.phases.dedup.report import report_phases, said
from gristmill.pipeline.phases.dedup.samples import (
    Compared,
    Decided,
    Largest,
    Members,
    observe_bounded,
    observe_pairs,
)
from gristmill.pipeline.phases.ranges import runs_here
from gristmill.pipeline.phases.shuffle import (
    DocumentFile,
    by_range,
    files,
    over_parts,
    over_shards,
    passed_on,
    shards_of,
)
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage
from gristmill.pipeline.stages.dedup import FuzzyFacts, FuzzySlice


@dataclass(frozen=True, slots=True)
class Signed(Counts):
    """A shard's documents and their band keys."""

    documents: int = 0
    band_keys: int = 0


@dataclass(frozen=True, slots=True)
class Joined(Counts):
    """A range of band keys: the edges in it, the documents they join, and the files of forests written."""

    band_keys: int = 0
    edges: int = 0
    joined: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Gathered(Counts):
    members: int = 0
    shingles: int = 0


def fuzzy_stage(job: Job[FuzzySlice]) -> Stage:
    settings = job.settings.fuzzy
    shards = shards_of(job)
    signed = yield over_shards("signatures", write_bands, shards)
    total = Signed.total(signed)
    num_rows = total.documents
    old = index.old_shards(job.carried.get("against") or index.planned_indexes(settings), num_rows)
    num_keys = total.band_keys + sum(shard.num_keys for shard in old)
    runs: dict[str, Any] = {
        "bands": by_range(job, signed, "bands"),
        "old": [(shard.bands, shard.first_row, shard.num_rows) for shard in old],
    }
    parts = num_parts(num_keys, settings.part_records)
    clustered = yield over_parts("cluster", cluster_part, parts, **runs)
    all_rows = num_rows + sum(shard.num_rows for shard in old)
    found = yield from find_components(job, clustered, all_rows)
    gathered = yield over_shards("gather", gather_shard, shards, components=found.paths)
    if old:
        gathered = gathered + (yield index.gather_phase(old, found.paths))
    common = {"members": files(job, gathered, "members"), "old_row": num_rows}
    verified = yield Phase("verify", found.tasks(verify_group, settings.split_documents), common)
    verified = verified + (yield from verify_giants(job, found, common))
    applied = yield over_shards("apply", apply_shard, shards, decisions=files(job, verified, "clusters"))
    check_alarm(settings, shards, applied, verified)
    decided, compared = Decided.total(verified), Compared.total(verified)
    facts = FuzzyFacts(
        clusters=decided.clusters,
        compared=compared.compared,
        removed=decided.removed,
        bounded=compared.bounded,
        components=found.count,
        rounds=found.rounds,
        warnings=bounded_warnings(settings, compared.bounded),
    )
    if settings.report and old:
        named, mine = yield from report_phases(job, shards, old, verified, applied)
        facts = replace(facts, old=mine, notes=said(mine))
        found.records.extend(named)
    if settings.index:
        yield index.index_phase(job, applied)
        against = [str(location(folder).resolve()) for folder in settings.against]
        facts = replace(facts, index=settings.shingling, against=against)
    passing = (signed, clustered, found.records, gathered, verified)
    return replace(facts, replaced_files=passed_on(job, *passing, but=("pairs", "bounded")))


def bounded_warnings(settings: FuzzySettings, num_bounded: int) -> list[str]:
    """Say where verification stopped at a bound, for the terminal and the report."""
    if not num_bounded:
        return []
    said = (
        f"{num_bounded:,} documents were kept although not all that share a band key with them were compared:"
        f" raise `max_candidates` ({settings.max_candidates:,}) or `max_comparisons`"
        f" ({settings.max_comparisons:,}); their ids are in the step's `bounded` files"
    )
    return [said]


def write_bands(task: Attempt[FuzzySlice], shard: DocumentFile) -> None:
    out = task.scratch / "bands.run"
    signed = Signed(**fuzzy.map_signatures(task.settings.fuzzy, Path(shard.path), shard.first_row, out))
    task.record.state(signed)
    task.publish(out, "bands", signed.band_keys)


def cluster_part(
    task: Attempt[FuzzySlice], part: int, parts: int, bands: list[ByRange], old: list[tuple[str, int, int]]
) -> None:
    out = task.scratch / "forest.run"
    low, high = key_range(part, parts)
    runs = runs_here(task, bands, low, high)
    old_runs = [(Path(path), row, count) for path, row, count in old]
    most = task.settings.fuzzy.memory_bytes // EDGE_BYTES
    joined = Joined(**cluster.cluster_bands(runs, low, high, out, old_runs, most))
    task.record.state(joined)
    for number in range(joined.files):
        task.publish(out.with_suffix(f".{number}"), "forest")


def gather_shard(task: Attempt[FuzzySlice], shard: DocumentFile, components: list[str]) -> None:
    out = task.scratch / "members.run"
    paths = [Path(path) for path in components]
    gathered = Gathered(
        **fuzzy.gather_members(task.settings.fuzzy, Path(shard.path), shard.first_row, paths, out)
    )
    task.record.state(gathered)
    task.publish(out, "members", gathered.members)


def verify_group(
    task: Attempt[FuzzySlice], group: int, members: list[str], components: str, old_row: int
) -> None:
    out, pairs = task.scratch / "clusters.run", task.scratch / "pairs.parquet"
    near = task.scratch / "near.run" if task.settings.fuzzy.report else None
    runs = [Path(path) for path in members]
    counts = fuzzy.verify_group(task.settings.fuzzy, runs, Path(components), group, out, pairs, old_row, near)
    decided = Decided(counts["clusters"], counts["removed"])
    compared = Compared(counts["compared"], counts["listed"], len(counts["bounded"]))
    task.record.state(Largest(counts["largest"]), decided, compared, Members(counts["members"]))
    observe_pairs(task.record, read_parquet(pairs), counts["similarity"], task.seed)
    observe_bounded(task, counts["bounded"])
    if near:
        task.publish(near, "nearest-pairs")
    task.publish(out, "clusters", counts["members"])
    task.publish(pairs, "pairs", compared.listed)


def apply_shard(task: Attempt[FuzzySlice], shard: DocumentFile, decisions: list[str]) -> None:
    """Write what a shard keeps and loses; every document has a row of decisions, in `mark` mode too."""
    place = (Path(shard.path), shard.first_row, [Path(run) for run in decisions])
    write_applied(task, shard, fuzzy.apply_fuzzy(task.settings.fuzzy, *place), DECISIONS)
