"""Deduplicate documents of all sources together: exact (text or URL) and fuzzy.

Each phase is a set of tasks over shards, or over ranges of sorted keys; what passes between them are files
that later phases read ranges of. Rows are dense numbers in the order of the input files; nothing that is kept
depends on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup import cluster, exact, fuzzy
from gristmill.dedup.alarm import check_losses
from gristmill.dedup.decisions import DECISIONS, Applied, text_bytes
from gristmill.dedup.runs import key_range, num_parts
from gristmill.dedup.settings import ExactSettings, FuzzySettings
from gristmill.ledger import Books
from gristmill.location import location
from gristmill.manifest import Record
from gristmill.parquet import read_parquet
from gristmill.pipeline.run.job import Attempt, Job, Phase, Stage, Task
from gristmill.pipeline.run.outcomes import DocumentOutputs
from gristmill.pipeline.stages import dedup_index
from gristmill.pipeline.stages.adopt import extra_fields
from gristmill.pipeline.stages.cluster_samples import ClusterObserver, observe_bounded, observe_pairs
from gristmill.storage import ParquetWriter

CARRIED = (pa.field("cluster_id", pa.binary(16)), pa.field("cluster_size", pa.uint32()))


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of documents of one source, and the number of its first row among all."""

    path: str
    source: str
    first_row: int


def shards_of(job: Job) -> list[Shard]:
    """Number the rows of all input files, in the order of the inputs and of their manifests."""
    shards, row = [], 0
    for path, entry in job.files("documents"):
        shards.append(Shard(str(path), entry.source or "", row))
        row += entry.rows
    return shards


def over_shards(name: str, function: Any, shards: Sequence[Shard], **common: Any) -> Phase:
    """A phase of one task for each shard."""
    return Phase(
        name,
        [Task(f"{number:05d}", function, {"shard": shard}) for number, shard in enumerate(shards)],
        common,
    )


def over_parts(name: str, function: Any, parts: int, **common: Any) -> Phase:
    """A phase of one task for each part of the key space."""
    common["parts"] = parts
    return Phase(name, [Task(f"{part:05d}", function, {"part": part}) for part in range(parts)], common)


def files(job: Job, records: Iterable[Record], kind: str) -> list[str]:
    return [str(job.folder / entry.path) for record in records for entry in record.named(kind)]


def passed_on(job: Job, *phases: Sequence[Record], but: Sequence[str] = ()) -> dict[str, Any]:
    """Drop the files that only phases of this step read, all `but` some kinds: they are no part of its
    output."""
    paths = [
        entry.path
        for records in phases
        for record in records
        for entry in record.files
        if entry.kind not in but
    ]
    for path in paths:
        (job.folder / path).unlink(missing_ok=True)
    return {"replaced_files": paths}


def exact_stage(job: Job) -> Stage:
    settings: ExactSettings = job.settings.exact
    shards = shards_of(job)
    keys = yield over_shards("keys", write_keys, shards, settings=settings)
    parts = num_parts(sum(record.counts["keys"] for record in keys), exact.PART_RECORDS)
    decided = yield over_parts("decide", decide_part, parts, keys=files(job, keys, "keys"))
    common = {
        "decisions": files(job, decided, "clusters"),
        "seed": job.seed,
        "keep_removed": job.settings.keep_removed,
    }
    applied = yield over_shards("apply", apply_shard, shards, settings=settings, **common)
    check_alarm(settings, shards, applied, decided)
    totals = {name: sum(record.counts[name] for record in decided) for name in ("clusters", "removed")}
    return {**totals, **passed_on(job, keys, decided)}


def write_keys(task: Attempt, shard: Shard, settings: ExactSettings) -> None:
    out = task.scratch / "keys.run"
    task.record.counts = exact.map_exact(settings, Path(shard.path), shard.first_row, out)
    task.publish(out, "keys", task.record.counts["keys"])


def decide_part(task: Attempt, part: int, parts: int, keys: list[str]) -> None:
    out = task.scratch / "clusters.run"
    counts = exact.reduce_exact([Path(path) for path in keys], *key_range(part, parts), out)
    task.record.extra["largest"] = counts.pop("largest")
    task.record.counts = counts
    task.publish(out, "clusters", counts["clusters"])


def fuzzy_stage(job: Job) -> Stage:
    settings: FuzzySettings = job.settings.fuzzy
    shards = shards_of(job)
    signed = yield over_shards("signatures", write_bands, shards, settings=settings)
    num_rows = sum(record.counts["documents"] for record in signed)
    old = dedup_index.old_shards(settings, num_rows)
    num_keys = sum(record.counts["band_keys"] for record in signed) + sum(shard.num_keys for shard in old)
    runs: dict[str, Any] = {
        "bands": files(job, signed, "bands"),
        "old": [(shard.bands, shard.first_row) for shard in old],
    }
    clustered = yield over_parts("cluster", cluster_part, num_parts(num_keys, settings.part_records), **runs)
    merged = yield from merge_phases(job, settings, clustered)
    (components,) = files(job, merged, "components")
    gathered = yield over_shards("gather", gather_shard, shards, settings=settings, components=components)
    if old:
        gathered = gathered + (yield dedup_index.gather_phase(old, components))
    runs = {
        "components": components,
        "members": files(job, gathered, "members"),
        "old_row": num_rows,
        "settings": settings,
    }
    runs["seed"] = job.seed
    groups = merged[-1].counts["groups"]
    verified = yield Phase(
        "verify", [Task(f"{group:05d}", verify_group, {"group": group}) for group in range(groups)], runs
    )
    common = {
        "decisions": files(job, verified, "clusters"),
        "seed": job.seed,
        "keep_removed": job.settings.keep_removed,
    }
    applied = yield over_shards("apply", apply_shard, shards, settings=settings, **common)
    check_alarm(settings, shards, applied, verified)
    facts: dict[str, Any] = {
        name: sum(record.counts[name] for record in verified)
        for name in ("clusters", "compared", "removed", "bounded")
    }
    facts["components"] = merged[-1].counts["components"]
    facts["warnings"] = bounded_warnings(settings, facts["bounded"])
    if settings.index:
        yield dedup_index.index_phase(job, settings, applied)
        facts |= {
            "index": settings.shingling,
            "against": [str(location(folder).resolve()) for folder in settings.against],
        }
    return facts | passed_on(job, signed, clustered, merged, gathered, verified, but=("pairs", "bounded"))


def merge_phases(
    job: Job, settings: FuzzySettings, records: list[Record]
) -> Generator[Phase, list[Record], list[Record]]:
    """Merge forests level by level; return the records of all levels, the last one with the components."""
    done: list[Record] = []
    for level, groups in enumerate(cluster.merge_tree(len(records)), start=1):
        forests = files(job, records, "forest")
        common = {"last": len(groups) == 1, "settings": settings}
        arguments = [{"forests": [forests[leaf] for leaf in group], **common} for group in groups]
        tasks = [Task(f"{number:05d}", merge_group, each) for number, each in enumerate(arguments)]
        records = yield Phase(f"merge-{level}", tasks)
        done += records
    return done


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


def write_bands(task: Attempt, shard: Shard, settings: FuzzySettings) -> None:
    out = task.scratch / "bands.run"
    task.record.counts = fuzzy.map_signatures(settings, Path(shard.path), shard.first_row, out)
    task.publish(out, "bands", task.record.counts["band_keys"])


def cluster_part(task: Attempt, part: int, parts: int, bands: list[str], old: list[tuple[str, int]]) -> None:
    out = task.scratch / "forest.run"
    old_runs = [(Path(path), row) for path, row in old]
    task.record.counts = cluster.cluster_bands(
        [Path(path) for path in bands], *key_range(part, parts), out, old_runs
    )
    task.publish(out, "forest", task.record.counts["joined"])


def merge_group(task: Attempt, forests: list[str], last: bool, settings: FuzzySettings) -> None:
    """Merge forests; the last merge is completed to components, cut into groups."""
    out = task.scratch / "forest.run"
    task.record.counts = cluster.merge_forests([Path(path) for path in forests], out)
    if last:
        components = task.scratch / "components.run"
        task.record.counts = cluster.write_components(out, components, settings.group_documents)
        task.publish(components, "components", task.record.counts["documents"])
    else:
        task.publish(out, "forest", task.record.counts["joined"])


def gather_shard(task: Attempt, shard: Shard, settings: FuzzySettings, components: str) -> None:
    out = task.scratch / "members.run"
    task.record.counts = fuzzy.gather_members(
        settings, Path(shard.path), shard.first_row, Path(components), out
    )
    task.publish(out, "members", task.record.counts["members"])


def verify_group(
    task: Attempt,
    group: int,
    members: list[str],
    components: str,
    old_row: int,
    settings: FuzzySettings,
    seed: int,
) -> None:
    out, pairs = task.scratch / "clusters.run", task.scratch / "pairs.parquet"
    counts = fuzzy.verify_group(
        settings, [Path(path) for path in members], Path(components), group, out, pairs, old_row
    )
    task.record.extra["largest"] = counts.pop("largest")
    similarity, bounded = counts.pop("similarity"), counts.pop("bounded")
    task.record.counts = {**counts, "bounded": len(bounded)}
    observe_pairs(task.record, read_parquet(pairs), similarity, seed)
    observe_bounded(task, bounded)
    task.publish(out, "clusters", counts["members"])
    task.publish(pairs, "pairs", counts["compared"])


def apply_shard(
    task: Attempt,
    shard: Shard,
    settings: ExactSettings | FuzzySettings,
    decisions: list[str],
    seed: int,
    keep_removed: Any,
) -> None:
    """Write what a shard keeps and loses; every document has a row of decisions, in `mark` mode too."""
    path = Path(shard.path)
    apply = exact.apply_exact if isinstance(settings, ExactSettings) else fuzzy.apply_fuzzy
    batches: Iterator[Applied] = apply(settings, path, shard.first_row, [Path(run) for run in decisions])  # type: ignore[arg-type]
    write_applied(task, shard, batches, DECISIONS, seed, keep_removed)


def write_applied(
    task: Attempt,
    shard: Shard,
    batches: Iterable[Applied],
    decisions: pa.Schema,
    seed: int,
    keep_removed: Any,
) -> None:
    """Write and book batches of kept and removed documents and their decisions; documents carry the cluster
    they are in."""
    books, clusters = Books(), ClusterObserver(seed) if "cluster_size" in decisions.names else None
    carried = CARRIED if clusters else ()
    names = {field.name for field in carried}
    before = [field for field in extra_fields(Path(shard.path)) if field.name not in names]
    outputs = DocumentOutputs(task, shard.source, seed, [*before, *carried], keep_removed=keep_removed)
    with ParquetWriter(task.scratch / "decisions.parquet", decisions) as writer:
        for applied in batches:
            writer.write(applied.decisions)
            outputs.keep(with_clusters(applied.kept, applied.decisions) if clusters else applied.kept)
            outputs.remove(with_clusters(applied.removed, applied.decisions) if clusters else applied.removed)
            if clusters:
                clusters.see(applied.decisions, both(applied))
            deleted = (
                int(pc.sum(applied.decisions["deleted_bytes"]).as_py() or 0)
                if "deleted_bytes" in decisions.names
                else 0
            )
            sizes = {
                "kept": text_bytes(applied.kept),
                "removed": text_bytes(applied.removed),
                "deleted": deleted,
            }
            books.items_in += applied.decisions.num_rows
            books.items_out.update(kept=applied.kept.num_rows, removed=applied.removed.num_rows)
            books.bytes_in += applied.bytes_in
            books.bytes_out.update(sizes)
            rules = Counter(applied.removed["rule"].to_pylist())
            books.by_rule_first.update(rules)
            books.by_rule_any.update(rules)
    task.record.books = books
    task.publish(writer.path, "decisions", writer.num_rows, source=shard.source)
    outputs.publish()
    if clusters:
        clusters.into(task.record)


def with_clusters(documents: pa.Table, decisions: pa.Table) -> pa.Table:
    """Let documents carry their cluster: what is alike is held out together, and a mixture can weight by its
    size.

    A document found to be alone keeps the cluster that an earlier step found it in.
    """
    mine = decisions.filter(pc.is_in(decisions["id"], documents["id"].combine_chunks()))
    for field in CARRIED:
        column = mine[field.name]
        if field.name in documents.column_names:
            column = pc.if_else(pc.greater(mine["cluster_size"], 1), column, documents[field.name])
            documents = documents.drop_columns([field.name])
        documents = documents.append_column(field, column)
    return documents


def both(applied: Applied) -> pa.Table:
    """The id, URL and text of a batch's documents, kept or removed."""
    columns = ["id", "url", "text"]
    return pa.concat_tables([applied.kept.select(columns), applied.removed.select(columns)])


def check_alarm(
    settings: ExactSettings | FuzzySettings,
    shards: Sequence[Shard],
    applied: Sequence[Record],
    decided: Sequence[Record],
) -> None:
    """Stop the step before it is published when a source has all but gone."""
    entered: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for shard, record in zip(shards, applied, strict=True):
        if record.books:
            entered[shard.source] += record.books.items_in
            removed[shard.source] += record.books.items_out["removed"]
    largest = [(survivor, size) for record in decided for survivor, size in record.extra.get("largest", ())]
    check_losses(settings, "deduplication", entered, removed, largest)
