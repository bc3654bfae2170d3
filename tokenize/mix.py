"""Mix encoded documents into globally shuffled shards: map tasks assign copies, reduce tasks write; no text
is encoded again.

How a stage calls this, with one encoded file per source here:

    sizes = {name: measure(index, settings, name, seed, levels) for ...}  # per file: counts, levels
    plan = make_plan(settings, {name: counts.training ...})                   # refuses what cannot be met
    bound = find_bound([levels], row.tokens, row.size.tokens, weighted=False) # per source
    assign(payload, index, dtype, settings, Take(...), seed, out)  # per file: copies, grouped by shard
    gather.write_shard([Part(out, 0)], folder / "00000", dtype, num_sources)  # per shard

Which copies a budget takes: copy k of a document enters at level (k - 1 + u) / weight, with u drawn by hash.
A mixture takes the longest prefix in level order that fits its tokens, so that a larger budget extends a
smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.errors import InputError
from gristmill.hashing import keyed_hash
from gristmill.heldout import is_heldout
from gristmill.parquet import read_parquet
from gristmill.tokenize.encode import INDEX
from gristmill.tokenize.places import Take, order_of, shard_of
from gristmill.tokenize.plan import Size
from gristmill.tokenize.ranges import copy_ranges
from gristmill.tokenize.settings import MixSettings

U64 = npt.NDArray[np.uint64]
LEVEL = np.dtype([("level", "<u8"), ("tokens", "<u8")])
ENTRY = np.dtype([("key", "<u8"), ("id", "V16"), ("tokens", "<u4"), ("bytes", "<u4"), ("source", "<u2")])
_DRAW_BITS, _WEIGHTED_BITS = 53, 32


@dataclass(frozen=True, slots=True)
class Measured:
    """One encoded file: what may be trained on and what is held out."""

    training: Size
    heldout: Size


def measure(index: Path, settings: MixSettings, source: str, seed: int, levels: Path) -> Measured:
    """Count both splits of one encoded file and write the levels of its training copies, in order, with
    running tokens."""
    table = read_parquet(index)
    held = is_heldout(seed, settings.heldout_fraction, table["unit"].combine_chunks())
    training = table.filter(pa.array(~held))
    tokens = training["tokens"].to_numpy().astype("<u8")
    weights = _weights(training, settings, source, index)
    copies = range(1, (settings.weight_copies if weights is not None else 1) + 1)
    draws = _draws(training, seed)
    found = np.concatenate([_level(draws, weights, copy) for copy in copies])
    order = np.argsort(found, kind="stable")
    rows = np.empty(len(found), LEVEL)
    rows["level"], rows["tokens"] = found[order], np.cumsum(np.tile(tokens, len(copies))[order])
    rows.tofile(levels)
    return Measured(_size(training), _size(table.filter(pa.array(held))))


def find_bound(levels: Sequence[Path], tokens: int, available: int, *, weighted: bool) -> int:
    """Find the highest level at which all copies up to it hold at most `tokens`; -1 takes none.

    Unweighted files list first copies only: whole epochs are counted off before, and the rest is a prefix in
    draw order.
    """
    whole, rest = (0, tokens) if weighted else divmod(tokens, available)
    parts = [np.memmap(path, LEVEL, "r") for path in levels if path.stat().st_size]
    low, high = 0, 1 << 63  # the answer is the number of levels allowed: all below it fit
    while low < high:
        middle = (low + high + 1) // 2
        ends = [int(np.searchsorted(part["level"], np.uint64(middle), side="left")) for part in parts]
        fits = sum(int(part["tokens"][end - 1]) for part, end in zip(parts, ends, strict=True) if end) <= rest
        low, high = (middle, high) if fits else (low, middle - 1)
    first = low if weighted else min(low, 1 << _DRAW_BITS)
    return (whole << _DRAW_BITS) + first - 1


def most_copies(settings: MixSettings, source: str, bound: int) -> int:
    """How often a document of a source can be taken up to a level."""
    if bound < 0:
        return 0
    return settings.weight_copies if source in settings.weights else (bound >> _DRAW_BITS) + 1


def assign(
    payload: Path, index: Path, dtype: str, settings: MixSettings, take: Take, seed: int, out: Path
) -> dict[str, int]:
    """Copy a file's tokens into shard order: `out.bin`, `out.entries` (a row per copy) and `out.cuts` (where
    shards begin).

    Order is by keyed hash of (id, copy), so neighbours in a shard come from anywhere. Memory is that of one
    encoded file.
    """
    table = read_parquet(index)
    tokens = table["tokens"].to_numpy().astype(np.int64)
    starts = np.cumsum(tokens) - tokens
    row, key = _shuffled(table, settings, take, seed, index)
    ids = table["id"].combine_chunks()
    entries = np.zeros(len(row), ENTRY)
    if len(row):
        entries["id"] = np.frombuffer(ids.buffers()[1], "V16")[ids.offset : ids.offset + len(ids)][row]
    entries["key"], entries["tokens"], entries["source"] = key, tokens[row], take.number
    entries["bytes"] = table["bytes"].to_numpy()[row]
    entries.tofile(out.with_suffix(".entries"))
    ends = np.cumsum(tokens[row])
    ordered = np.empty(int(tokens[row].sum()), dtype)
    if len(row):
        copy_ranges(np.memmap(payload, dtype, "r"), starts[row], ordered, ends - tokens[row], tokens[row])
    ordered.tofile(out.with_suffix(".bin"))
    first = np.searchsorted(
        shard_of(key, take.first_shard, take.num_shards),
        np.arange(take.first_shard, take.first_shard + take.num_shards + 1),
    )
    np.stack([first, np.concatenate(([0], ends))[first]], axis=1).astype("<u8").tofile(
        out.with_suffix(".cuts")
    )
    taken = np.unique(row)
    return {
        "documents": len(taken),
        "document_bytes": int(table["bytes"].to_numpy()[taken].sum(dtype=np.int64)),
        "copies": len(row),
        "tokens": len(ordered),
        "bytes": int(entries["bytes"].sum(dtype=np.int64)),
    }


def _shuffled(
    table: pa.Table, settings: MixSettings, take: Take, seed: int, index: Path
) -> tuple[npt.NDArray[np.int64], U64]:
    """The row of each copy taken and its place in the shuffle, in the order of places."""
    held = is_heldout(seed, settings.heldout_fraction, table["unit"].combine_chunks())
    copies = (
        held.astype(np.int64)
        if take.split == "heldout"
        else np.where(held, 0, _copies(table, settings, take, seed, index))
    )
    ids = table["id"].combine_chunks()
    rows, keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for copy in range(1, int(copies.max(initial=0)) + 1):
        rows.append(np.flatnonzero(copies >= copy))
        keys.append(order_of(ids.take(pa.array(rows[-1])), copy, seed))
    row, key = np.concatenate(rows), np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    return row[order], key[order]


def _copies(
    table: pa.Table, settings: MixSettings, take: Take, seed: int, index: Path
) -> npt.NDArray[np.int64]:
    """How often each document is taken: the number of its copies whose level is within the bound."""
    copies = np.zeros(table.num_rows, np.int64)
    if take.bound < 0 or not table.num_rows:
        return copies
    draws, weights = _draws(table, seed), _weights(table, settings, take.source, index)
    for copy in range(1, take.copies + 1):
        copies += _level(draws, weights, copy) <= np.uint64(take.bound)
    return copies


def _draws(table: pa.Table, seed: int) -> U64:
    return keyed_hash(seed, "mix.budget", table["id"].combine_chunks()) >> np.uint64(64 - _DRAW_BITS)


def _level(draws: U64, weights: npt.NDArray[np.float64] | None, copy: int) -> U64:
    """The level at which a copy enters, as an integer: exact where documents weigh the same, in steps of
    2^-32 where not."""
    if weights is None:
        return draws + np.uint64((copy - 1) << _DRAW_BITS)
    level = (copy - 1 + draws.astype(np.float64) * 2.0**-_DRAW_BITS) / weights
    return np.minimum(level * 2.0**_WEIGHTED_BITS, 2.0**62).astype(np.uint64)


def _weights(
    table: pa.Table, settings: MixSettings, source: str, index: Path
) -> npt.NDArray[np.float64] | None:
    column = settings.weights.get(source)
    if column is None:
        return None
    if column not in table.schema.names:
        carried = ", ".join(table.schema.names[len(INDEX) :]) or "no number"
        raise InputError(
            f"`mix.weights` names `{column}` for `{source}`, its documents carry {carried}",
            where=str(index),
            hint=(
                f"of rows read from files it comes along as a number with `passthrough: {{{column}:"
                " float64}`"
            ),
        )
    values: npt.NDArray[np.float64] = np.asarray(table[column].to_numpy(zero_copy_only=False), np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        first = f"{values[wrong[0]]:g} of document {table['id'][int(wrong[0])].as_py().hex()}"
        raise InputError(
            f"the weight `{column}` of `{source}` must be a number above 0, got {first} and of"
            f" {len(wrong) - 1:,} more",
            where=str(index),
            hint="take out those documents before, or leave the source unweighted",
        )
    return values


def _size(table: pa.Table) -> Size:
    tokens, num_bytes = (int(table[name].to_numpy().sum(dtype=np.int64)) for name in ("tokens", "bytes"))
    return Size(table.num_rows, tokens, num_bytes)
