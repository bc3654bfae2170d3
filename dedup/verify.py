"""Verification: who in a component of candidates really is a duplicate, and of whom.

Members of a component are taken in survivor order. Each is compared with at most `max_comparisons` documents
kept so far that share a band key with it, in survivor order: by the share of equal signature places first,
then by the exact n-gram sets. The first that passes removes it; a member that none passes is kept. So a chain
of drifting texts does not collapse, every removed document has a witness, and the work is linear in the
members.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, types

import gristmill.text.kernel  # noqa: F401  sets the cache folder before any njit
from gristmill.dedup.minhash import Bounds
from gristmill.dedup.radix import U64, Numbers, sort_pairs
from gristmill.dedup.settings import FuzzySettings

I64 = types.Array(types.int64, 1, "C")
_MATRICES = [types.Array(kind, 2, "C") for kind in (types.uint32, types.uint64)]


@njit([types.int64(U64, types.int64, types.int64, types.int64, types.int64)], cache=True, nogil=True)
def _overlap(sets, i, i_stop, j, j_stop):  # type: ignore[no-untyped-def]
    """Count the numbers that two sorted sets share."""
    shared = 0
    while i < i_stop and j < j_stop:
        a, b = sets[i], sets[j]
        shared += a == b
        i += a <= b
        j += b <= a
    return shared


@njit([types.float64(types.int64, types.int64, types.int64, types.boolean)], cache=True, nogil=True)
def _score(shared, member, kept, containment):  # type: ignore[no-untyped-def]
    return shared / member if containment else shared / (member + kept - shared)


@njit(
    [
        types.Tuple((I64, types.float64[::1], types.float64[:, ::1]))(
            *(
                matrix,
                U64,
                I64,
                types.boolean[::1],
                I64,
                I64,
                types.int64,
                types.boolean,
                types.float64,
                types.float64,
            )
        )
        for matrix in _MATRICES
    ],
    cache=True,
    nogil=True,
)
def _verify(signatures, sets, ends, old, slots, capacity, most, containment, threshold, margin):  # type: ignore[no-untyped-def]
    """Return each member's keeper (itself when kept), its score, and the compared pairs (member, kept,
    estimate, score).

    `old` members are kept without a look. `slots` holds per (member, band) the number of its band key, or -1
    when no one shares it; `capacity` is where each key's list of kept members begins.
    """
    count, num_hashes = signatures.shape
    bands = len(slots) // max(count, 1)
    keeper, score = np.arange(count), np.full(count, np.nan)
    lists, filled = np.empty(capacity[-1], np.int64), np.zeros(len(capacity) - 1, np.int64)
    pairs, num_pairs = np.empty((1024, 4), np.float64), 0
    seen = np.full(count, -1, np.int64)
    candidates = np.empty(bands * most, np.int64)
    for member in range(count):
        found = 0
        for band in range(bands):
            slot = slots[member * bands + band]
            if slot >= 0 and not old[member]:
                for place in range(capacity[slot], capacity[slot] + filled[slot]):
                    kept = lists[place]
                    if seen[kept] != member:
                        seen[kept] = member
                        candidates[found] = kept
                        found += 1
        start, stop = ends[member], ends[member + 1]
        for kept in np.sort(candidates[:found])[:most]:
            kept_start, kept_stop = ends[kept], ends[kept + 1]
            equal = 0
            for k in range(num_hashes):
                equal += signatures[member, k] == signatures[kept, k]
            jaccard = equal / num_hashes
            shared = jaccard * ((stop - start) + (kept_stop - kept_start)) / (1 + jaccard)
            exact = np.nan
            if (min(1.0, shared / (stop - start)) if containment else jaccard) >= threshold - margin:
                exact = _score(
                    _overlap(sets, start, stop, kept_start, kept_stop),
                    stop - start,
                    kept_stop - kept_start,
                    containment,
                )
            if num_pairs == len(pairs):
                larger = np.empty((2 * num_pairs, 4), np.float64)
                larger[:num_pairs] = pairs
                pairs = larger
            pairs[num_pairs, 0], pairs[num_pairs, 1], pairs[num_pairs, 2], pairs[num_pairs, 3] = (
                member,
                kept,
                jaccard,
                exact,
            )
            num_pairs += 1
            if exact >= threshold:
                keeper[member], score[member] = kept, exact
                break
        if keeper[member] == member:
            for band in range(bands):
                slot = slots[member * bands + band]
                if slot >= 0 and filled[slot] < capacity[slot + 1] - capacity[slot]:
                    lists[capacity[slot] + filled[slot]] = member
                    filled[slot] += 1
    return keeper, score, pairs[:num_pairs].copy()


@dataclass(frozen=True)
class Verified:
    """What verification found: per member its keeper (itself when kept) and score (NaN when kept), and the
    pairs compared."""

    keeper: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    pairs: npt.NDArray[np.float64]  # rows of (member, kept, estimated Jaccard, score or NaN)


def verify_members(
    settings: FuzzySettings,
    signatures: npt.NDArray,
    keys: Numbers,
    sets: Numbers,
    ends: Bounds,
    old: npt.NDArray[np.bool_],
) -> Verified:
    """Verify members that stand in survivor order; member i has the sorted distinct shingles
    sets[ends[i]:ends[i + 1]].

    `keys` has a row of band keys per member. Components may stand interleaved: those that share a key are in
    one. Members that are `old` were kept before this run: they stand first, are kept without a look, and
    remove others.
    """
    slots, capacity = _key_lists(keys, settings.max_comparisons)
    keeper, score, pairs = _verify(
        *(signatures, sets, ends, old, slots, capacity, settings.max_comparisons),
        *(settings.verify == "containment", settings.threshold, settings.estimate_margin),
    )
    return Verified(keeper, score, pairs)


def _key_lists(keys: Numbers, most: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the band keys that two or more members share, and lay out a list of at most `most` kept members
    for each."""
    key, place = sort_pairs(keys.ravel(), np.arange(keys.size, dtype=np.uint64))
    new = np.ones(len(key), bool)
    new[1:] = key[1:] != key[:-1]
    starts = np.flatnonzero(new)
    size = np.diff(np.append(starts, len(key)))
    number = np.where(size > 1, np.cumsum(size > 1) - 1, -1)
    slots = np.empty(keys.size, np.int64)
    slots[place.astype(np.int64)] = np.repeat(number, size)
    return slots, np.concatenate([[0], np.cumsum(np.minimum(size[size > 1], most))])
