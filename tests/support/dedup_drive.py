"""All phases of deduplication in one process, over Parquet shards in a folder."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.dedup import decontaminate, grams
from gristmill.dedup.decisions import Applied
from gristmill.dedup.near import cluster, fuzzy
from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.runs import key_range, num_parts
from gristmill.dedup.sorted.shards import num_rows
from gristmill.document import DOCUMENT, document_id
from gristmill.pipeline.phases.dedup import contained, exact, passages, pieces, semantic, substring
from gristmill.pipeline.phases.dedup.frame import Frame, OverRanges, OverShards


def documents(texts: Sequence[str | None], **columns: Any) -> pa.Table:
    """Make documents; ids are hashes of the place in the list unless `keys` says otherwise."""
    count = len(texts)
    keys = columns.pop("keys", [str(i) for i in range(count)])
    sources = columns.pop("source", ["web"] * count)
    values = {
        "id": [document_id(source, key) for source, key in zip(sources, keys, strict=True)],
        "url": columns.pop("url", [None] * count),
        "source": sources,
        "date": columns.pop("date", [None] * count),
        "text": texts,
        "language": [None] * count,
        "language_score": [None] * count,
        "origin": [{"file": "made", "offset": i, "length": 1} for i in range(count)],
    }
    table = pa.table(values, schema=DOCUMENT)
    for name, column in columns.items():
        table = table.append_column(name, pa.array(column))
    return table


def write_shards(folder: Path, table: pa.Table, sizes: Iterable[int]) -> list[tuple[Path, int]]:
    """Cut a table into Parquet shards of the given sizes (the rest is the last one); return paths and first
    rows."""
    folder.mkdir(parents=True)
    shards, row = [], 0
    for size in [*sizes, len(table)]:
        piece = table.slice(row, size)
        path = folder / f"{len(shards):03d}.parquet"
        pq.write_table(piece, path)
        shards.append((path, row))
        row += len(piece)
    return shards


@dataclass
class Outcome:
    kept: pa.Table
    removed: pa.Table
    decisions: pa.Table
    counts: list[dict[str, Any]] = field(default_factory=list)
    pairs: pa.Table | None = None

    def texts(self) -> list[str]:
        return self.kept["text"].to_pylist()


def run_frame(
    frame: Frame, settings: Any, shards: Sequence[tuple[Path, int]], scratch: Path, parts: int = 2
) -> Outcome:
    """All passes of a frame, over `parts` ranges of keys; `counts` are those of its last pass."""
    scratch.mkdir(parents=True)
    runs: list[Path] = []
    counts: list[dict[str, Any]] = []
    for number, each in enumerate(frame.passes):
        before = [runs] if number else []
        calls: list[tuple[Any, ...]] = [(path, row, *before) for path, row in shards]
        if isinstance(each, OverRanges):
            calls = [(runs, *key_range(part, parts)) for part in range(parts)]
        counts, written = [], []
        for place, call in enumerate(calls):
            out = scratch / f"{number}-{place}.run"
            tells = isinstance(each, OverShards) and each.tells_documents
            told = {"num_documents": sum(num_rows(path) for path, _row in shards)} if tells else {}
            counts.append(each.work(settings, *call, out, **told))
            several = counts[-1].get("files")
            written += [out] if several is None else [out.with_suffix(f".{i}") for i in range(several)]
        runs = written
    applied = [piece for path, row in shards for piece in frame.apply(settings, path, row, runs)]
    return _outcome(applied, counts)


run_exact = functools.partial(run_frame, exact.FRAME)
run_pieces = functools.partial(run_frame, pieces.FRAME)
run_contained = functools.partial(run_frame, contained.FRAME)
run_substring = functools.partial(run_frame, substring.FRAME)
run_semantic = functools.partial(run_frame, semantic.FRAME)
run_passages = functools.partial(run_frame, passages.FRAME)


def run_fuzzy(settings: FuzzySettings, shards: Sequence[tuple[Path, int]], scratch: Path) -> Outcome:
    scratch.mkdir(parents=True)
    bands = []
    total = 0
    for path, first_row in shards:
        bands.append(scratch / f"{path.stem}.bands")
        total += fuzzy.map_signatures(settings, path, first_row, bands[-1])["band_keys"]
    parts = num_parts(total, settings.part_records)
    forests = []
    for part in range(parts):
        files = cluster.cluster_bands(bands, *key_range(part, parts), scratch / f"0-{part}.forest")["files"]
        forests += [scratch / f"0-{part}.{number}" for number in range(files)]
    for level, groups in enumerate(cluster.merge_tree(len(forests)), start=1):
        merged = [scratch / f"{level}-{number}.merged" for number in range(len(groups))]
        for group, out in zip(groups, merged, strict=True):
            cluster.merge_forests([forests[leaf] for leaf in group], out)
        forests = merged
    components = scratch / "components"
    counts = cluster.write_components(forests[0], components, settings.group_documents)
    members = [scratch / f"{path.stem}.members" for path, _row in shards]
    for (path, row), out in zip(shards, members, strict=True):
        fuzzy.gather_members(settings, path, row, [components], out)
    decisions, pairs, results = [], [], [counts]
    for group in range(counts["groups"]):
        decisions.append(scratch / f"{group}.decisions")
        pairs.append(scratch / f"{group}.parquet")
        results.append(fuzzy.verify_group(settings, members, components, group, decisions[-1], pairs[-1]))
    applied = [piece for path, row in shards for piece in fuzzy.apply_fuzzy(settings, path, row, decisions)]
    outcome = _outcome(applied, results)
    outcome.pairs = (
        pa.concat_tables([pq.read_table(path) for path in pairs]) if pairs else fuzzy.PAIRS.empty_table()
    )
    return outcome


def balanced(found: Outcome, table: pa.Table) -> None:
    """Bytes in = kept + removed + deleted, and every document is kept or removed."""
    size = {
        name: sum(len((text or "").encode()) for text in part["text"].to_pylist())
        for name, part in (("in", table), ("kept", found.kept), ("removed", found.removed))
    }
    assert size["in"] == size["kept"] + size["removed"] + sum(found.decisions["deleted_bytes"].to_pylist())
    assert sorted(found.kept["id"].to_pylist() + found.removed["id"].to_pylist()) == sorted(
        table["id"].to_pylist()
    )


def balanced_rows(found: Outcome, table: pa.Table) -> None:
    """Every document is kept or removed, and has a row of decisions."""
    ids = sorted(table["id"].to_pylist())
    assert sorted(found.kept["id"].to_pylist() + found.removed["id"].to_pylist()) == ids
    assert sorted(found.decisions["id"].to_pylist()) == ids


def _outcome(applied: list[Applied], counts: list[dict[str, Any]]) -> Outcome:
    kept, removed, decisions = (
        pa.concat_tables([getattr(piece, name) for piece in applied])
        for name in ("kept", "removed", "decisions")
    )
    return Outcome(kept, removed, decisions, counts)


def run_decontaminate(
    settings: DecontaminateSettings, shards: Sequence[tuple[Path, int]], scratch: Path
) -> tuple[Outcome, pa.Table]:
    scratch.mkdir(parents=True)
    counts, _told = grams.index_benchmarks(settings, scratch / "grams", scratch / "items.parquet")
    both = [
        pair
        for path, _row in shards
        for pair in decontaminate.decontaminate(settings, scratch / "grams", scratch / "items.parquet", path)
    ]
    return _outcome([applied for applied, _hits in both], [counts]), pa.concat_tables(
        [hits for _applied, hits in both]
    )
