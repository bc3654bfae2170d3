"""Verification: who among candidates really is a duplicate, and of whom.

Members are taken in survivor order. The kept ones before a member that share a band key with it are its
candidates: its rarest keys are read first, and of a long list the end, which is nearest in survivor order.
All candidates are ranked by the share of equal signature places, then compared by the exact n-gram sets,
the most alike first. The first that passes removes the member; a member that none passes is kept. So a chain
of drifting texts does not collapse, and every removed document has a witness. Both counts are bounded
(`max_candidates`, `max_comparisons`); a kept member that met a bound is named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, types

import gristmill.text.kernel  # noqa: F401  sets the cache folder before any njit
from gristmill.dedup.near.minhash import Bounds
from gristmill.dedup.settings.near import FuzzySettings
from gristmill.dedup.sorted.radix import U64, Numbers, sort_pairs

I64 = types.Array(types.int64, 1, "C")
U8 = types.Array(types.uint8, 1, "C")
_MATRICES = [types.Array(kind, 2, "C") for kind in (types.uint32, types.uint64)]
NEW, OLD, PROBE = 0, 1, 2  # a member's part: judged and kept for others; kept unseen; judged, but never kept
PAIRS_LISTED = 8  # of the pairs of one member that were not accepted; all are counted
ACCEPTED, REJECTED, UNREAD = range(3)
SIMILARITY_BINS = 50


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


@njit([types.int64(I64, I64, I64, I64, I64, I64, types.int64, I64)], cache=True, nogil=True)
def _collect(own, lists, capacity, filled, seen, order, member, candidates):  # type: ignore[no-untyped-def]
    """List the kept members that share a key with this one, rarest key first; return their number, or minus
    it where there was no room for all."""
    count = 0
    for band in range(len(own)):  # by insertion: a member has few keys that anyone shares
        slot = own[band]
        if slot >= 0 and filled[slot]:
            place = count
            while place and filled[order[place - 1]] > filled[slot]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = slot
            count += 1
    found = 0
    for k in range(count):
        slot = order[k]
        for place in range(capacity[slot] + filled[slot] - 1, capacity[slot] - 1, -1):
            kept = lists[place]
            if seen[kept] != member:
                if found == len(candidates):
                    return -found
                seen[kept] = member
                candidates[found] = kept
                found += 1
    return found


@njit([types.float64[:, ::1](types.float64[:, ::1], types.int64)], cache=True, nogil=True)
def _room(pairs, count):  # type: ignore[no-untyped-def]
    if count < len(pairs):
        return pairs
    larger = np.empty((2 * count, 4), np.float64)
    larger[:count] = pairs
    return larger


_VERIFIED = types.Tuple((I64, types.float64[::1], I64, I64, types.float64[:, ::1], types.int64[:, ::1]))
_INT, _REAL = types.int64, types.float64


@njit(
    [
        _VERIFIED(matrix, U64, I64, U8, I64, I64, _INT, _INT, types.boolean, _REAL, _REAL)
        for matrix in _MATRICES
    ],
    cache=True,
    nogil=True,
)
def _verify(signatures, sets, ends, part, slots, capacity, room, most, containment, threshold, margin):  # type: ignore[no-untyped-def]
    """Return each member's keeper (itself when kept), its score, the number of its candidates
    (minus, where there were more than `room`), how many were left uncompared by `most`, the pairs listed
    (member, kept, estimate, score), and all pairs by outcome and similarity.

    `slots` holds per (member, band) the number of its band key, or -1 when no one shares it; `capacity` is
    where each key's list of kept members begins.
    """
    count, num_hashes = signatures.shape
    bands = len(slots) // max(count, 1)
    keeper, score = np.arange(count), np.full(count, np.nan)
    num_candidates, num_left = np.zeros(count, np.int64), np.zeros(count, np.int64)
    lists, filled = np.empty(capacity[-1], np.int64), np.zeros(len(capacity) - 1, np.int64)
    pairs, num_pairs = np.empty((1024, 4), np.float64), 0
    counts = np.zeros((3, SIMILARITY_BINS), np.int64)
    seen, order = np.full(count, -1, np.int64), np.empty(bands, np.int64)
    candidates, ranked, unread = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    for member in range(count):
        own = slots[member * bands : (member + 1) * bands]
        found = 0
        if part[member] != OLD:
            found = _collect(own, lists, capacity, filled, seen, order, member, candidates)
            num_candidates[member] = found
        start, stop = ends[member], ends[member + 1]
        hopeful, listed, num_unread = 0, 0, 0
        for k in range(abs(found)):
            kept = candidates[k]
            equal = 0
            for place in range(num_hashes):
                equal += signatures[member, place] == signatures[kept, place]
            jaccard = equal / num_hashes
            shared = jaccard * ((stop - start) + (ends[kept + 1] - ends[kept])) / (1 + jaccard)
            estimate = min(1.0, shared / (stop - start)) if containment else jaccard
            if estimate >= threshold - margin:
                ranked[hopeful] = ((num_hashes - equal) << 40) | kept
                hopeful += 1
                continue
            counts[UNREAD, min(int(jaccard * SIMILARITY_BINS + 1e-9), SIMILARITY_BINS - 1)] += 1
            unread[num_unread] = ((num_hashes - equal) << 40) | kept
            num_unread += 1
        ranked[:hopeful] = np.sort(ranked[:hopeful])
        for k in range(min(hopeful, most)):
            kept = ranked[k] & ((1 << 40) - 1)
            kept_start, kept_stop = ends[kept], ends[kept + 1]
            shared_sets = _overlap(sets, start, stop, kept_start, kept_stop)
            exact = _score(shared_sets, stop - start, kept_stop - kept_start, containment)
            passed = exact >= threshold
            outcome = ACCEPTED if passed else REJECTED
            counts[outcome, min(int(exact * SIMILARITY_BINS + 1e-9), SIMILARITY_BINS - 1)] += 1
            if passed or listed < PAIRS_LISTED:
                pairs = _room(pairs, num_pairs)
                estimate = 1 - (ranked[k] >> 40) / num_hashes
                pairs[num_pairs] = np.array([member, kept, estimate, exact])
                num_pairs, listed = num_pairs + 1, listed + 1
            if passed:
                keeper[member], score[member] = kept, exact
                break
        if listed < PAIRS_LISTED and num_unread:
            unread[:num_unread] = np.sort(unread[:num_unread])
            for k in range(min(PAIRS_LISTED - listed, num_unread)):
                pairs = _room(pairs, num_pairs)
                estimate = 1 - (unread[k] >> 40) / num_hashes
                pairs[num_pairs] = np.array([member, unread[k] & ((1 << 40) - 1), estimate, np.nan])
                num_pairs += 1
        if keeper[member] == member:
            num_left[member] = max(0, hopeful - most)
            if part[member] != PROBE:
                for band in range(bands):
                    slot = own[band]
                    if slot >= 0 and filled[slot] < capacity[slot + 1] - capacity[slot]:
                        lists[capacity[slot] + filled[slot]] = member
                        filled[slot] += 1
    return keeper, score, num_candidates, num_left, pairs[:num_pairs].copy(), counts


@dataclass(frozen=True)
class Verified:
    """What verification found: per member its keeper (itself when kept) and score (NaN when kept), the pairs
    listed, all pairs counted, and which members were kept although a bound ended their comparisons."""

    keeper: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    pairs: npt.NDArray[np.float64]  # rows of (member, kept, estimated Jaccard, score or NaN)
    counts: npt.NDArray[np.int64]  # accepted, rejected, unread, each by similarity in fiftieths
    bounded: npt.NDArray[np.bool_]


def verify_members(
    settings: FuzzySettings,
    signatures: npt.NDArray,
    keys: Numbers,
    sets: Numbers,
    ends: Bounds,
    part: npt.NDArray[np.uint8],
) -> Verified:
    """Verify members that stand in survivor order; member i has the sorted distinct shingles
    sets[ends[i]:ends[i + 1]].

    `keys` has a row of band keys per member. Components may stand interleaved: those that share a key are in
    one. `part` says of each member whether it is NEW, OLD or a PROBE.
    """
    slots, capacity = _key_lists(keys, part)
    keeper, score, candidates, left, pairs, counts = _verify(
        *(signatures, sets, ends, part, slots, capacity, settings.max_candidates, settings.max_comparisons),
        *(settings.verify == "containment", settings.threshold, settings.estimate_margin),
    )
    kept = keeper == np.arange(len(keeper))
    return Verified(keeper, score, pairs, counts, kept & ((candidates < 0) | (left > 0)))


def _key_lists(
    keys: Numbers, part: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the band keys that two or more members share, and lay out a list for each, of all members that
    can be kept."""
    key, place = sort_pairs(keys.ravel(), np.arange(keys.size, dtype=np.uint64))
    new = np.ones(len(key), bool)
    new[1:] = key[1:] != key[:-1]
    starts = np.flatnonzero(new)
    size = np.diff(np.append(starts, len(key)))
    number = np.where(size > 1, np.cumsum(size > 1) - 1, -1)
    slots = np.empty(keys.size, np.int64)
    where = place.astype(np.int64)
    slots[where] = np.repeat(number, size)
    listed = (part[where // keys.shape[1]] != PROBE).astype(np.int64)
    lengths = np.add.reduceat(listed, starts) if len(starts) else np.zeros(0, np.int64)
    return slots, np.concatenate([[0], np.cumsum(lengths[size > 1])]).astype(np.int64)
