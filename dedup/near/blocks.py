"""Verification in bounded memory: blocks of undecided members in survivor order.

The first members whose shingles fit a share of `memory_bytes` are verified among themselves; the later
members of their component are then compared with those kept, a chunk at a time, and what is left undecided
begins the next block. One task or many take the same blocks, so that the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gristmill.dedup.near.minhash import Bounds, band_keys, signatures
from gristmill.dedup.near.verify import NEW, OLD, PROBE, SIMILARITY_BINS, Verified, verify_members
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import Numbers
from gristmill.dedup.sorted.runs import Columns, SortedRun, concat

_SHARE = 8  # of memory_bytes: a block and a chunk, each read, packed and keyed
MOST_MEMBERS = 1 << 20  # of a block
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sets:
    """Where the shingle sets of members lie: in which run, up to which place, and how many."""

    runs: Sequence[SortedRun]
    run: Places
    stop: Places
    size: Places

    @classmethod
    def spanning(cls, runs: Sequence[SortedRun], low: int, high: int) -> Sets:
        """The members of a range of components, run after run, as `read_range` gives them."""
        spans = [run.span(low, high) for run in runs]
        pairs = list(zip(runs, spans, strict=True))
        return cls(
            runs,
            np.repeat(np.arange(len(runs)), [span.stop - span.start for span in spans]),
            concat([run.columns["end"][span] for run, span in pairs]).astype(np.int64),
            concat([run.columns["num_shingles"][span] for run, span in pairs]).astype(np.int64),
        )

    def take(self, places: Places) -> Sets:
        return Sets(self.runs, self.run[places], self.stop[places], self.size[places])

    def read(self, places: Places) -> tuple[Numbers, Bounds]:
        """Read the sets of some members, packed in the order of `places`."""
        size = self.size[places]
        ends = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
        packed = np.empty(int(ends[-1]), np.uint64)
        where = zip(self.run[places].tolist(), self.stop[places].tolist(), size.tolist(), strict=True)
        for number, (run, stop, length) in enumerate(where):
            packed[ends[number] : ends[number + 1]] = self.runs[run].columns["shingles"][stop - length : stop]
        return packed, ends


def block_length(settings: FuzzySettings, size: npt.NDArray) -> int:
    """Return how many of these members, by their numbers of shingles, make a block: one at least."""
    width = 8 if settings.scheme == "fineweb" else 4
    each = settings.num_hashes * width + settings.bands * 80
    total = np.cumsum(size.astype(np.int64) * 8 + each)
    return min(max(1, int(np.searchsorted(total, settings.memory_bytes // _SHARE, "right"))), MOST_MEMBERS)


def judge(
    settings: FuzzySettings, sets: Sets, scope: Numbers, places: Places, part: npt.NDArray[np.uint8]
) -> Verified:
    """Verify the members at `places` among themselves; the answer counts from 0 in their order."""
    packed, ends = sets.read(places)
    matrix = signatures(settings, packed, ends)
    keys = band_keys(settings, matrix, scope[places])
    return verify_members(settings, matrix, keys, packed, ends, part)


def verify_in_blocks(
    settings: FuzzySettings, sets: Sets, columns: Columns, old: npt.NDArray[np.bool_]
) -> Verified:
    """Verify members sorted by component (`root`) and, within it, in survivor order, `old` ones first."""
    count = len(old)
    keeper, score, bounded = np.arange(count), np.full(count, np.nan), np.zeros(count, bool)
    pairs, counts = [np.empty((0, 4))], np.zeros((3, SIMILARITY_BINS), np.int64)

    def note(found: Verified, places: Places) -> None:
        nonlocal counts
        keeper[places], score[places] = places[found.keeper], found.score
        bounded[places] |= found.bounded
        found.pairs[:, :2] = places[found.pairs[:, :2].astype(np.int64)]
        pairs.append(found.pairs)
        counts = counts + found.counts

    undecided = np.arange(count)
    while len(undecided):
        root = columns["root"][undecided]
        length = block_length(settings, sets.size[undecided])
        if length < len(root) and root[0] != root[length] == root[length - 1]:
            length = int(np.searchsorted(root, root[length]))  # whole components, where one is not too large
        block, undecided = undecided[:length], undecided[length:]
        found = judge(
            settings, sets, columns["scope"], block, np.where(old[block], OLD, NEW).astype(np.uint8)
        )
        note(found, block)
        if len(undecided) and columns["root"][undecided[0]] == columns["root"][block[-1]]:
            kept = block[(keeper[block] == block) & (columns["root"][block] == columns["root"][block[-1]])]
            undecided = _sweep(settings, sets, columns, old, kept, undecided, note)
    return Verified(keeper, score, np.concatenate(pairs), counts, bounded & (keeper == np.arange(count)))


def _sweep(
    settings: FuzzySettings,
    sets: Sets,
    columns: Columns,
    old: npt.NDArray[np.bool_],
    kept: Places,
    undecided: Places,
    note: Callable[[Verified, Places], None],
) -> Places:
    """Compare the undecided members of the last block's component with what it kept; return those left."""
    mine = (columns["root"][undecided] == columns["root"][kept[-1]]) & ~old[undecided]
    rest = undecided[mine]
    gone = np.zeros(len(old), bool)
    while len(rest):
        length = block_length(settings, sets.size[rest])
        chunk, rest = rest[:length], rest[length:]
        found = probe(settings, sets, columns["scope"], kept, chunk)
        note(found, np.concatenate([kept, chunk]))
        gone[chunk[found.keeper[len(kept) :] < len(kept)]] = True
    return undecided[~gone[undecided]]


def probe(settings: FuzzySettings, sets: Sets, scope: Numbers, kept: Places, chunk: Places) -> Verified:
    """Compare the members of a chunk with kept ones, and with nothing else."""
    part = np.repeat(np.array([OLD, PROBE], np.uint8), [len(kept), len(chunk)])
    return judge(settings, sets, scope, np.concatenate([kept, chunk]), part)
