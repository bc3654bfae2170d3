"""What of an earlier corpus a document duplicates, or is nearest to.

    for each group verified: write_nearest(found, old_row, nearest)
    for each shard of an index: name_old(nearest of all, its names, first row, count, corpus, named)
    for each shard of documents: tell(nearest of all, named of all, documents, decisions, first row, out)

Of a document that stays the nearest old one is told among those that share a band key with it: pairs beyond
the reach of the bands (0.09 at a Jaccard of 0.6, 26 x 11) may be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.near.old import check_names
from gristmill.dedup.near.verify import SIMILARITY_BINS, Verified
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat, read_range, sort_columns, write_run
from gristmill.dedup.sorted.shards import num_rows, read_batches
from gristmill.files.parquet import read_parquet
from gristmill.files.storage import ParquetWriter
from gristmill.urls import host_of

# `similarity` is of the texts where `exact`, else what the signatures estimate.
NEAREST = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("url", pa.string()),
        pa.field("removed", pa.bool_(), nullable=False),
        pa.field("old_id", pa.binary(16)),
        pa.field("old_url", pa.string()),
        pa.field("corpus", pa.string()),
        pa.field("source", pa.string()),
        pa.field("similarity", pa.float64(), nullable=False),
        pa.field("exact", pa.bool_(), nullable=False),
    ]
)
NAMED = pa.schema(
    [
        pa.field("old_row", pa.uint64(), nullable=False),
        *(pa.field(name, NEAREST.field(name).type) for name in ("old_id", "old_url", "corpus", "source")),
    ]
)
_HOSTS = 20


def write_nearest(found: Sequence[tuple[Verified, Columns]], old_row: int, out: Path) -> int:
    """Write, by row, the compared pairs of documents with old ones, each document's best; return how many."""
    parts: list[Columns] = []
    for verified, columns in found:
        member, kept = (columns["row"][verified.pairs[:, side].astype(np.int64)] for side in (0, 1))
        chosen = (kept >= np.uint64(old_row)) & (member < np.uint64(old_row))
        estimate, score = verified.pairs[chosen, 2], verified.pairs[chosen, 3]
        exact = ~np.isnan(score)
        parts.append(
            {
                "row": member[chosen],
                "old_row": kept[chosen],
                "similarity": np.where(exact, score, estimate),
                "exact": exact.astype(np.uint8),
            }
        )
    names = ("row", "old_row", "similarity", "exact")
    best = _best({name: concat([part[name] for part in parts]) for name in names})
    write_run(out, best)
    return len(best["row"])


def _best(columns: Columns) -> Columns:
    """Keep of each row the pair with the highest similarity, compared texts before estimates."""
    if not len(columns["row"]):
        return {**columns, "row": columns["row"].astype(np.uint64)}
    keys = (columns["old_row"], -columns["similarity"], -columns["exact"].astype(np.int64), columns["row"])
    order = np.lexsort(keys)
    columns = {name: column[order] for name, column in columns.items()}
    first = np.diff(columns["row"], prepend=~columns["row"][:1]) != 0
    return {name: column[first] for name, column in columns.items()}


def name_old(
    nearest: Sequence[Path], names: Path, first_row: int, count: int, corpus: str, out: Path
) -> dict[str, int]:
    """Write the id, URL and source of the old documents of one index shard that pairs name; raises
    IntegrityError where it does not name all its `count` documents."""
    check_names(names, num_rows(names), count)
    last = first_row + count
    wanted = []
    for path in nearest:
        rows = SortedRun(path).columns["old_row"]
        wanted.append(np.unique(rows[(rows >= first_row) & (rows < last)]))
    places = np.unique(concat(wanted)).astype(np.int64) - first_row
    start = 0
    with ParquetWriter(out, NAMED) as writer:
        for table in read_batches(names):
            low, high = np.searchsorted(places, [start, start + len(table)])
            chosen = table.take(pa.array(places[low:high] - start))
            corpora = pa.array([corpus] * len(chosen), pa.string())
            rows = pa.array((places[low:high] + first_row).astype(np.uint64))
            columns = [rows, chosen["id"], chosen["url"], corpora, chosen["source"]]
            writer.write(pa.table(columns, schema=NAMED))
            start += len(table)
    return {"named": len(places)}


def tell(
    nearest: Sequence[Path],
    named: Sequence[Path],
    documents: Path,
    decisions: Path,
    first_row: int,
    out: Path,
) -> dict[str, Any]:
    """Write what each document of a shard is nearest to; return what was removed and kept, added up."""
    names = ("row", "old_row", "similarity", "exact")
    runs = [SortedRun(path) for path in nearest]
    pairs = _best(sort_columns(read_range(runs, first_row, first_row + num_rows(documents), names)))
    wanted = pa.array(np.unique(pairs["old_row"]))
    known = [table.filter(pc.is_in(table["old_row"], wanted)) for table in map(read_parquet, named)]
    old = pa.concat_tables([NAMED.empty_table(), *known]).sort_by("old_row")
    rows = np.asarray(old["old_row"])
    told = _Told()
    with ParquetWriter(out, NEAREST) as writer:
        for start, table, survivors in _batches(documents, decisions):
            low, high = np.searchsorted(
                pairs["row"], np.array([start, start + len(table)], np.uint64) + np.uint64(first_row)
            )
            own = {name: column[low:high] for name, column in pairs.items()}
            places = (own["row"] - np.uint64(first_row + start)).astype(np.int64)
            at = np.searchsorted(rows, own["old_row"])
            missing = np.append(rows, 0)[at] != own["old_row"]  # an index without names
            other = old.take(pa.array(at, mask=missing))
            mine = table.take(pa.array(places))
            survivor = survivors.take(pa.array(places))
            gone = pc.fill_null(pc.equal(survivor, other["old_id"]), False)
            stays = pc.equal(survivor, mine["id"])
            numbers = [pa.array(own["similarity"]), pa.array(own["exact"].astype(bool))]
            columns = [mine["id"], mine["url"], gone, *(other[name] for name in NAMED.names[1:]), *numbers]
            part = pa.table(columns, schema=NEAREST).filter(pc.or_(gone, stays))
            mine = mine.filter(pc.or_(gone, stays))  # others of this run stand for the rest
            told.see(part, pc.fill_null(pc.binary_length(mine["text"]), 0))
            writer.write(part)
    return {"documents": num_rows(documents), "near": writer.num_rows, **told.as_json()}


def _batches(documents: Path, decisions: Path) -> Iterator[tuple[int, pa.Table, pa.ChunkedArray]]:
    """Yield a shard's documents from each place on, and who stands for them."""
    survivors = read_parquet(decisions, columns=["survivor_id"])["survivor_id"]
    start = 0
    for table in read_batches(documents, ["id", "url", "text"]):
        yield start, table, survivors.slice(start, len(table))
        start += len(table)


class _Told:
    """Documents and bytes removed by corpus and by host, and how near those that stay are."""

    def __init__(self) -> None:
        self.corpora: dict[str, Counter[str]] = {}
        self.hosts: Counter[str] = Counter()
        self.kept = np.zeros(SIMILARITY_BINS, np.int64)

    def see(self, part: pa.Table, num_bytes: pa.ChunkedArray) -> None:
        rows = zip(
            part.select(["corpus", "source", "url", "removed"]).to_pylist(),
            num_bytes.to_pylist(),
            strict=True,
        )
        for row, size in rows:
            name = f"{row['corpus'] or 'unnamed'} / {row['source'] or '?'}"
            mine = self.corpora.setdefault(name, Counter())
            if row["removed"]:
                mine.update(removed=1, removed_bytes=size)
                self.hosts[host_of(row["url"])] += 1
            else:
                mine.update(near=1)
        stay = part.filter(pc.invert(part["removed"]))["similarity"].to_numpy()
        self.kept += np.histogram(stay, SIMILARITY_BINS, (0, 1))[0]

    def as_json(self) -> dict[str, Any]:
        return {
            "corpora": {name: dict(counts) for name, counts in sorted(self.corpora.items())},
            "hosts": dict(self.hosts.most_common(50 * _HOSTS)),
            "kept_similarity": self.kept.tolist(),
        }


def add_told(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up what the shards told."""
    corpora: dict[str, Counter[str]] = {}
    hosts: Counter[str] = Counter()
    for part in parts:
        hosts.update(part["hosts"])
        for name, counts in part["corpora"].items():
            corpora.setdefault(name, Counter()).update(counts)
    return {
        "documents": sum(part["documents"] for part in parts),
        "near": sum(part["near"] for part in parts),
        "corpora": {name: dict(counts) for name, counts in sorted(corpora.items())},
        "hosts": dict(hosts.most_common(_HOSTS)),
        "kept_similarity": np.sum([part["kept_similarity"] for part in parts], axis=0).tolist(),
    }
