"""Gather the documents that map tasks assigned to one shard into its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.files.stores import store_of
from gristmill.token_shards import ShardRows
from gristmill.tokenize.mixing.mix import ENTRY
from gristmill.tokenize.mixing.ranges import copy_ranges
from gristmill.tokenize.shards import shard_entry, write_files


@dataclass(frozen=True, slots=True)
class MapOutput:
    """What one map task left for a shard: its files (by stem), and which of its shards this is."""

    stem: Path
    position: int


def write_shard(parts: Sequence[MapOutput], out: Path, dtype: str, num_sources: int) -> dict[str, Any]:
    """Gather one shard's documents from all map tasks in key order, write its files, and return its
    manifest entry.

    Memory is that of the shard: of each part only the shard's stretch is read, none is mapped or, where it
    lies on remote storage, copied. `per_source` in the result counts copies, tokens and bytes by source
    number.
    """
    cuts = [tuple(cut.tolist()) for cut in _read(parts, ".cuts", "<u8", [(2 * p.position, 4) for p in parts])]
    rows = [(first, last - first) for first, _, last, _ in cuts]
    stretches = [(start, stop - start) for _, start, _, stop in cuts]
    entries = np.concatenate([np.empty(0, ENTRY), *_read(parts, ".entries", ENTRY, rows)])
    ids = entries["id"].view("V16")
    halves = np.frombuffer(ids.tobytes(), ">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0], entries["key"]))
    lengths = entries["tokens"].astype(np.int64)
    ends = np.cumsum(lengths[order])
    places = np.empty_like(ends)
    places[order] = ends - lengths[order]
    tokens = np.empty(int(lengths.sum()), dtype)
    at = 0
    for (_, count), stretch in zip(rows, _read(parts, ".bin", dtype, stretches), strict=True):
        mine = slice(at, at + count)
        starts = np.cumsum(lengths[mine]) - lengths[mine]
        copy_ranges(stretch, starts, tokens, places[mine], lengths[mine])
        at += count
    ordered = entries[order]
    columns = ShardRows(tokens, ordered["tokens"], ordered["bytes"], ordered["source"], ids[order])
    write_files(out, columns)
    entry = shard_entry(out, len(tokens), len(ordered), int(ordered["bytes"].sum(dtype=np.int64)))
    sums = {
        name: [int(x) for x in np.bincount(ordered["source"], ordered[name], num_sources)]
        for name in ("tokens", "bytes")
    }
    return {
        **entry,
        "per_source": {"docs": np.bincount(ordered["source"], minlength=num_sources).tolist(), **sums},
    }


def _read(
    parts: Sequence[MapOutput], suffix: str, dtype: Any, places: Sequence[tuple[int, int]]
) -> Iterator[npt.NDArray[Any]]:
    """Of each part's file, so many numbers from a place on; `places` are pairs of both."""
    if not parts:
        return
    kind = np.dtype(dtype)
    stretches = [
        (part.stem.with_name(part.stem.name + suffix), kind.itemsize * start, kind.itemsize * (start + count))
        for part, (start, count) in zip(parts, places, strict=True)
    ]
    for data in store_of(parts[0].stem).read_stretches(stretches):
        yield np.frombuffer(data, kind)
