"""Incremental deduplication: what one run keeps, the next finds again without reading its texts.

An index is, for every shard of a run's survivors, a run of band keys and a run of members (place in the
survivor order, counted names, shingles): what the clustering and verification of a later run need, and
nothing of its layout. The later run joins the old band keys to its own by merging sorted runs; old documents
are never removed, and remove what duplicates them.

That is the same as deduplicating everything together when the survivor order puts the old documents first
(`oldest`, with snapshots added in time order). Otherwise an old document stays that a newer one would have
replaced. Cluster columns count the documents of the present run and the old one that stands for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.dedup.near.cluster import component_of
from gristmill.dedup.near.fuzzy import MEMBER, describe, write_members
from gristmill.dedup.near.minhash import band_keys, signatures
from gristmill.dedup.near.old import open_members
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import sort_pairs
from gristmill.dedup.sorted.runs import concat, write_run
from gristmill.dedup.sorted.shards import read_batches
from gristmill.files.storage import ParquetWriter

NAMES = pa.schema([("id", pa.binary(16)), ("url", pa.string()), ("source", pa.string())])


def index_shard(
    settings: FuzzySettings,
    documents: Path,
    decisions: Path,
    bands_out: Path,
    members_out: Path,
    names_out: Path,
) -> dict[str, int]:
    """Write the index of a shard's survivors: of the documents in the file, those that `decisions` lets stand
    for themselves; their ids, URLs and sources stand beside, in the same order."""
    survivors: set[bytes] = set()
    for table in read_batches(decisions, ["id", "survivor_id"]):
        survivors.update(table.filter(pc.equal(table["id"], table["survivor_id"]))["id"].to_pylist())
    ids = [value for table in read_batches(documents, ["id"]) for value in table["id"].to_pylist()]
    places = np.flatnonzero(np.array([value in survivors for value in ids], bool))
    columns, sets = describe(settings, documents, 0, places)
    count = len(places)
    row = np.arange(count, dtype=np.uint64)
    bounds = np.concatenate([[0], np.cumsum(columns["num_shingles"])]).astype(np.int64)
    keys = band_keys(settings, signatures(settings, concat(sets), bounds), columns["scope"])
    worded = columns["num_shingles"] > 0
    key, local = sort_pairs(keys[worded].ravel(), np.repeat(row[worded], settings.bands))
    write_run(bands_out, {"key": key, "row": local.astype(np.uint32), "first_row": np.zeros(1, np.uint64)})
    write_members(members_out, row, {**columns, "row": row}, sets)
    _write_names(documents, places, names_out)
    return {"documents": count, "band_keys": len(key)}


def _write_names(documents: Path, places: npt.NDArray[np.int64], out: Path) -> None:
    start = 0
    with ParquetWriter(out, NAMES) as writer:
        for table in read_batches(documents, NAMES.names):
            low, high = np.searchsorted(places, [start, start + len(table)])
            chosen = table.take(pa.array(places[low:high] - start))
            writer.write(pa.table([chosen[field.name].cast(field.type) for field in NAMES], schema=NAMES))
            start += len(table)


def gather_index(
    members: Path, first_row: int, count: int, components: Sequence[Path], out: Path
) -> dict[str, int]:
    """Write what verification needs of an index's `count` documents that lie in a component; its rows begin
    at `first_row`. Raises IntegrityError where the index is not whole."""
    index = open_members(members, dict.fromkeys(MEMBER, "<u8"), count)
    places, root = component_of(components, first_row, count)
    ends = index.columns["end"].astype(np.int64)
    starts = ends - index.columns["num_shingles"].astype(np.int64)
    sets = [index.columns["shingles"][starts[place] : ends[place]] for place in places.tolist()]
    columns = {name: index.columns[name][places] for name in MEMBER}
    write_members(out, root, {**columns, "row": (places + first_row).astype(np.uint64)}, sets)
    return {"members": len(places)}
