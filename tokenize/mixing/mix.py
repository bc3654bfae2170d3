"""Mix encoded documents into globally shuffled shards: map tasks assign copies, reduce tasks write; no text
is encoded again.

How a stage calls this, with one encoded file per source here:

    measured = measure(index, settings, seed, sizes)          # per file: counts, tokens by size and draw
    plan = make_plan(settings, {name: counts.training ...})    # refuses what cannot be met
    gates = gates_of(sum of sizes, mean tokens of a document)  # per source
    levels(index, settings, name, seed, gates, out)            # per file: copies in the source's order
    bound = find_bound([out], row.tokens, row.size.tokens, weighted=False, split=True)  # per source
    assign(payload, index, dtype, settings, Take(...), seed, out, ...)  # per file: copies, by shard
    gather.write_shard([Part(out, 0)], folder / "00000", dtype, num_sources)  # per shard

Which copies a budget takes: copy k of a document enters at level (k - 1 + u) / weight, with u drawn by hash
(and later for a document much longer than its source's mean: gristmill.tokenize.mixing.gates). A mixture
takes the longest prefix in level order that fits its tokens, and the beginning of the copy after it, so that
a source gives exactly what it is asked for and a larger budget extends a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.arrays import write_array
from gristmill.cells import Cells, in_cells, sum_cells
from gristmill.files.parquet import read_parquet
from gristmill.hashing import keyed_hash
from gristmill.heldout import is_heldout
from gristmill.token_shards import mapped
from gristmill.tokenize.mixing.gates import DRAW_BITS, ORDER_BITS, effective, sizes_by_draw
from gristmill.tokenize.mixing.places import Take, order_of, shard_of
from gristmill.tokenize.mixing.plan import Size
from gristmill.tokenize.mixing.ranges import copy_ranges
from gristmill.tokenize.mixing.weights import CellWeights, by_cell, weights_of
from gristmill.tokenize.settings import MixSettings

U64 = npt.NDArray[np.uint64]
LEVEL = np.dtype([("level", "<u8"), ("tokens", "<u8")])
ENTRY = np.dtype([("key", "<u8"), ("id", "V16"), ("tokens", "<u4"), ("bytes", "<u4"), ("source", "<u2")])
_SHORTEST_CUT = 2  # one token of text and the end token


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """One encoded file: what may be trained on and what is held out; documents and tokens of the former by
    cell, where they lie in cells."""

    training: Size
    heldout: Size
    cells: Cells | None = None


def measure(index: Path, settings: MixSettings, seed: int, sizes: Path) -> MeasuredFile:
    """Count both splits of one encoded file, and write its training tokens by size class and draw."""
    table = read_parquet(index)
    held = is_heldout(seed, settings.heldout_fraction, table["unit"].combine_chunks())
    training = table.filter(pa.array(~held))
    tokens = training["tokens"].to_numpy().astype(np.uint64)
    write_array(sizes, sizes_by_draw(_raw_draws(training, seed), tokens).astype("<u8"))
    cells = sum_cells(training, tokens=training["tokens"]) if in_cells(table.schema.names) else None
    return MeasuredFile(_size(training), _size(table.filter(pa.array(held))), cells)


def levels(
    index: Path,
    settings: MixSettings,
    source: str,
    seed: int,
    gates: Sequence[int],
    out: Path,
    cells: CellWeights | None = None,
) -> None:
    """Write the levels of the training copies of one encoded file, in order, with running tokens; documents
    of weight 0 have none."""
    table = read_parquet(index)
    held = is_heldout(seed, settings.heldout_fraction, table["unit"].combine_chunks())
    training = table.filter(pa.array(~held))
    weights = weights_of(training, settings, source, index, cells)
    if weights is not None and not weights.all():
        training, weights = training.filter(pa.array(weights > 0)), weights[weights > 0]
    tokens = training["tokens"].to_numpy().astype("<u8")
    copies = range(1, (settings.copies_of(source) if weights is not None else 1) + 1)
    draws = _draws(training, seed, gates)
    found = np.concatenate([_level(draws, weights, copy) for copy in copies])
    order = np.argsort(found, kind="stable")
    rows = np.empty(len(found), LEVEL)
    rows["level"], rows["tokens"] = found[order], np.cumsum(np.tile(tokens, len(copies))[order])
    write_array(out, rows)


@dataclass(frozen=True, slots=True)
class CutOff:
    """Where a source's order is cut off: the last level taken whole, and how much of the next copy.

    `missing` counts the tokens that it falls short by; `reason` says why.
    """

    level: int
    cut_level: int = -1
    cut_tokens: int = 0
    missing: int = 0
    reason: str = ""


def find_bound(levels: Sequence[Path], tokens: int, available: int, *, weighted: bool, split: bool) -> CutOff:
    """Find the highest level at which all copies up to it hold at most `tokens`; level -1 takes none.

    Unweighted files list first copies only: whole epochs are counted off before, and the rest is a prefix in
    the source's order. With `split`, what is left is taken from the next copy.
    """
    whole, rest = (0, tokens) if weighted else divmod(tokens, available)
    parts = [mapped(path, LEVEL) for path in levels]
    low, high = 0, 1 << 63  # the answer is the number of levels allowed: all below it fit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _up_to(parts, middle) <= rest else (low, middle - 1)
    left = rest - _up_to(parts, low)
    first = low if weighted else min(low, 1 << ORDER_BITS)
    level = (whole << ORDER_BITS) + first - 1
    following = _following(parts, low)
    if not left:
        return CutOff(level)
    if not following:
        return CutOff(level, missing=left, reason="each of its documents is at its most copies")
    (at, length), *others = following
    if not split or others or left < _SHORTEST_CUT:
        why = (
            "`mix.split_documents` is off" if not split else
            "two documents stand at the same place" if others else
            "a document is not cut to its end token alone"
        )  # fmt: skip
        return CutOff(level, missing=left, reason=f"the next document has {length:,} tokens, and {why}")
    return CutOff(level, (whole << ORDER_BITS) + at, left)


def _up_to(parts: Sequence[npt.NDArray[Any]], level: int) -> int:
    """The tokens of all copies below a level."""
    ends = [int(np.searchsorted(part["level"], np.uint64(level), side="left")) for part in parts]
    return sum(int(part["tokens"][end - 1]) for part, end in zip(parts, ends, strict=True) if end)


def _following(parts: Sequence[npt.NDArray[Any]], level: int) -> list[tuple[int, int]]:
    """The copies at the first level from here on, as (level, tokens): one, but for equal draws."""
    found: list[tuple[int, int]] = []
    for part in parts:
        at = int(np.searchsorted(part["level"], np.uint64(level), side="left"))
        while at < len(part) and (not found or int(part["level"][at]) <= found[0][0]):
            before = int(part["tokens"][at - 1]) if at else 0
            copy = int(part["level"][at]), int(part["tokens"][at]) - before
            found = [*found, copy] if found and copy[0] == found[0][0] else [copy]
            at += 1
    return found


def most_copies(settings: MixSettings, source: str, bound: CutOff) -> int:
    """How often a document of a source can be taken up to a level."""
    level = max(bound.level, bound.cut_level)
    if level < 0:
        return 0
    weighted = source in settings.weights and settings.kind == "mixed"
    return settings.copies_of(source) if weighted else (level >> ORDER_BITS) + 1


def assign(
    payload: Path,
    index: Path,
    dtype: str,
    settings: MixSettings,
    take: Take,
    seed: int,
    out: Path,
    eos_id: int = 0,
    text_bytes: Callable[[npt.NDArray[Any]], int] = len,
) -> Assigned:
    """Copy a file's tokens into shard order: `out.bin`, `out.entries` (a row per copy) and `out.cuts` (where
    shards begin).

    Order is by keyed hash of (id, copy), so neighbours in a shard come from anywhere. Memory is that of one
    encoded file. `eos_id` ends a document that is cut, and `text_bytes` measures the text of its tokens.
    """
    table = read_parquet(index)
    tokens = table["tokens"].to_numpy().astype(np.int64)
    starts = np.cumsum(tokens) - tokens
    copies = _shuffled(table, settings, take, seed, index)
    row, lengths = copies.row, tokens[copies.row]
    lengths[copies.cut] = take.cut_tokens
    ids = table["id"].combine_chunks()
    entries = np.zeros(len(row), ENTRY)
    if len(row):
        entries["id"] = np.frombuffer(ids.buffers()[1], "V16")[ids.offset : ids.offset + len(ids)][row]
    entries["key"], entries["tokens"], entries["source"] = copies.key, lengths, take.number
    entries["bytes"] = table["bytes"].to_numpy()[row]
    ends = np.cumsum(lengths)
    ordered = np.empty(int(lengths.sum()), dtype)
    if len(row):
        copy_ranges(np.memmap(payload, dtype, "r"), starts[row], ordered, ends - lengths, lengths)
    taken = np.unique(row[~copies.cut])
    part = [int(lengths[place]) for place in np.flatnonzero(copies.cut) if row[place] not in taken]
    distinct = int(tokens[taken].sum()) + sum(part)
    found = Assigned(len(np.unique(row)), 0, len(row), len(ordered), 0, distinct)
    if take.cells is not None:
        found.left_out = _left_out(table, settings, take, seed)
        found.cells = sum_cells(table.take(pa.array(row)), tokens=pa.array(lengths))
    for place in np.flatnonzero(copies.cut).tolist():
        ordered[ends[place] - 1] = eos_id
        text = ordered[ends[place] - lengths[place] : ends[place] - 1]
        entries["bytes"][place] = min(int(entries["bytes"][place]), text_bytes(text))
        found.cut = {
            "id": entries["id"][place].tobytes().hex(),
            "tokens": int(lengths[place]),
            "of_tokens": int(tokens[row[place]]),
            "bytes": int(entries["bytes"][place]),
            "of_bytes": int(table["bytes"][int(row[place])].as_py()),
        }
    write_array(out.with_suffix(".bin"), ordered)
    write_array(out.with_suffix(".entries"), entries)
    first = np.searchsorted(
        shard_of(copies.key, take.first_shard, take.num_shards),
        np.arange(take.first_shard, take.first_shard + take.num_shards + 1),
    )
    cuts = np.stack([first, np.concatenate(([0], ends))[first]], axis=1).astype("<u8")
    write_array(out.with_suffix(".cuts"), cuts)
    found.document_bytes = int(table["bytes"].to_numpy()[np.unique(row)].sum(dtype=np.int64))
    found.bytes = int(entries["bytes"].sum(dtype=np.int64))
    return found


@dataclass(slots=True)
class Assigned:
    """What one file gives to a split: documents with their bytes, copies, tokens and bytes of the copies, and
    tokens without repetition.

    `cut` names the document of which only the beginning is taken, `left_out` counts those of weight 0,
    `cells` are the copies and their tokens by cell, where a curve weighs them.
    """

    documents: int
    document_bytes: int
    copies: int
    tokens: int
    bytes: int
    distinct_tokens: int
    cut: dict[str, Any] | None = None
    left_out: int = 0
    cells: Cells | None = None


@dataclass(frozen=True, slots=True)
class _Copies:
    """The row of each copy taken, its place in the shuffle, and whether it is cut; in the order of places."""

    row: npt.NDArray[np.int64]
    key: U64
    cut: npt.NDArray[np.bool_]


def _shuffled(table: pa.Table, settings: MixSettings, take: Take, seed: int, index: Path) -> _Copies:
    held = is_heldout(seed, settings.heldout_fraction, table["unit"].combine_chunks())
    cut = np.zeros(table.num_rows, np.bool_)
    if take.split == "heldout":
        copies = held.astype(np.int64)
    else:
        copies, cut = _copies(table, settings, take, seed, index)
        copies[held], cut[held] = 0, False
    ids = table["id"].combine_chunks()
    rows, keys, cuts = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], [np.empty(0, np.bool_)]
    for copy in range(1, int((copies + cut).max(initial=0)) + 1):
        rows.append(np.flatnonzero(copies + cut >= copy))
        keys.append(order_of(ids.take(pa.array(rows[-1])), copy, seed))
        cuts.append(copies[rows[-1]] < copy)
    row, key = np.concatenate(rows), np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    return _Copies(row[order], key[order], np.concatenate(cuts)[order])


def _copies(
    table: pa.Table, settings: MixSettings, take: Take, seed: int, index: Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """How often each document is taken whole (its copies with a level within the bound), and which is cut."""
    copies, cut = np.zeros(table.num_rows, np.int64), np.zeros(table.num_rows, np.bool_)
    if not take.copies or not table.num_rows:
        return copies, cut
    draws = _draws(table, seed, take.gates)
    weights = weights_of(table, settings, take.source, index, take.cells)
    if weights is not None and not weights.all():
        weighed = np.flatnonzero(weights)
        part = _copies(table.take(pa.array(weighed)), settings, take, seed, index)
        copies[weighed], cut[weighed] = part
        return copies, cut
    for copy in range(1, take.copies + 1):
        level = _level(draws, weights, copy)
        if take.bound >= 0:
            copies += level <= np.uint64(take.bound)
        if take.cut_level >= 0:
            cut |= level == np.uint64(take.cut_level)
    return copies, cut


def _left_out(table: pa.Table, settings: MixSettings, take: Take, seed: int) -> int:
    """The documents that a curve takes never, held-out ones aside."""
    held = is_heldout(seed, settings.heldout_fraction, table["unit"].combine_chunks())
    return int(np.count_nonzero((by_cell(table, take.cells or {}) == 0) & ~held))


def _raw_draws(table: pa.Table, seed: int) -> U64:
    return keyed_hash(seed, "mix.budget", table["id"].combine_chunks()) >> np.uint64(64 - DRAW_BITS)


def _draws(table: pa.Table, seed: int, gates: Sequence[int]) -> U64:
    draws = _raw_draws(table, seed)
    return effective(draws, table["tokens"].to_numpy().astype(np.uint64), gates) if gates else draws


def _level(draws: U64, weights: npt.NDArray[np.float64] | None, copy: int) -> U64:
    """The level at which a copy enters, as an integer: exact where documents weigh the same; where not the
    bits of a float, which order as it does, so that weights of any size keep 53 bits of the draw."""
    if weights is None:
        return draws + np.uint64((copy - 1) << ORDER_BITS)
    level: npt.NDArray[np.float64] = (copy - 1 + draws.astype(np.float64) * 2.0**-DRAW_BITS) / weights
    return level.view(np.uint64)


def _size(table: pa.Table) -> Size:
    tokens, num_bytes = (int(table[name].to_numpy().sum(dtype=np.int64)) for name in ("tokens", "bytes"))
    return Size(table.num_rows, tokens, num_bytes)
