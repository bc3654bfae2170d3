"""Gather the documents that map tasks assigned to one shard into its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.arrays import read_array
from gristmill.tokenize.mix import ENTRY
from gristmill.tokenize.ranges import copy_ranges
from gristmill.tokenize.shards import shard_entry, write_files


@dataclass(frozen=True, slots=True)
class MapOutput:
    """What one map task left for a shard: its files (by stem), and which of its shards this is."""

    stem: Path
    position: int


def write_shard(parts: Sequence[MapOutput], out: Path, dtype: str, num_sources: int) -> dict[str, Any]:
    """Gather one shard's documents from all map tasks in key order, write its six files, and return its
    manifest entry.

    Memory is that of the shard: of each part only the shard's stretch is read, none is mapped. `per_source`
    in the result counts copies, tokens and bytes by source number.
    """
    cuts = [_cut(part) for part in parts]
    found = [_read(part, ".entries", ENTRY, *rows) for part, (rows, _) in zip(parts, cuts, strict=True)]
    entries = np.concatenate([np.empty(0, ENTRY), *found])
    ids = entries["id"].view("V16")
    halves = np.frombuffer(ids.tobytes(), ">u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0], entries["key"]))
    lengths = entries["tokens"].astype(np.int64)
    ends = np.cumsum(lengths[order])
    places = np.empty_like(ends)
    places[order] = ends - lengths[order]
    tokens = np.empty(int(lengths.sum()), dtype)
    at = 0
    for part, ((first, last), stretch) in zip(parts, cuts, strict=True):
        mine = slice(at, at + last - first)
        starts = np.cumsum(lengths[mine]) - lengths[mine]
        copy_ranges(
            _read(part, ".bin", np.dtype(dtype), *stretch), starts, tokens, places[mine], lengths[mine]
        )
        at += last - first
    ordered = entries[order]
    write_files(out, tokens, ordered["tokens"], ordered["bytes"], ordered["source"], ordered["id"].tobytes())
    entry = shard_entry(out, len(tokens), len(ordered), int(ordered["bytes"].sum(dtype=np.int64)))
    sums = {
        name: [int(x) for x in np.bincount(ordered["source"], ordered[name], num_sources)]
        for name in ("tokens", "bytes")
    }
    return {
        **entry,
        "per_source": {"docs": np.bincount(ordered["source"], minlength=num_sources).tolist(), **sums},
    }


def _cut(part: MapOutput) -> tuple[tuple[int, int], tuple[int, int]]:
    """The shard's rows of a part's entries, and its stretch of the part's tokens."""
    cuts = read_array(part.stem.with_suffix(".cuts"), "<u8", 4, 2 * part.position)
    first, start, last, stop = cuts.tolist()
    return (first, last), (start, stop)


def _read(part: MapOutput, suffix: str, dtype: np.dtype[Any], start: int, stop: int) -> npt.NDArray[Any]:
    return read_array(part.stem.with_suffix(suffix), dtype, stop - start, start)
