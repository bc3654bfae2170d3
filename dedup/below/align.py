"""Alignment of two texts as rows of words, with a bounded share of edits.

A word that is equal in both scores `match`, one that is replaced, inserted or deleted costs `edit`. With
match to edit as e to 1 - e, whatever scores above nothing has a share of edited words below e:
edits (1 - e) < matches e. Stretches start from `anchor` equal words in a row and grow to either side as far
as their score rises; a score that fell by more than `drop` from its highest ends them (X-drop, Zhang et al.
2000), so that no long passage of other text is bridged, and the two sides may slip by `band` words against
each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from gristmill.text.kernel import kernel, part

U32 = types.Array(types.uint32, 1, "C", readonly=True)
_PLACES = types.Array(types.int64, 2, "C")
_NEVER = -(1 << 62)


class Scoring(NamedTuple):
    """What alignment goes by; scores are whole numbers, so that every machine finds the same stretches."""

    anchor: int
    match: int
    edit: int
    drop: int
    band: int

    @classmethod
    def of(cls, edit_fraction: float, gap_words: int, anchor: int, band: int) -> Scoring:
        """Scores for a share of edits below `edit_fraction`; so many edited words in a row end a stretch."""
        match = round(1000 * edit_fraction)
        return cls(anchor, match, 1000 - match, (1000 - match) * gap_words, band)


@part
def _extend(a, i, num_a, b, j, num_b, step, match, edit, drop, band, rows):  # type: ignore[no-untyped-def]
    """Grow from a[i], b[j] on (step 1) or back (-1), over `num_a` and `num_b` words at most; return how many
    words of either the highest score takes. Of equal scores the first counts, by the words of `a`, then of
    `b`."""
    width = 2 * band + 1
    before, now = rows[0], rows[1]
    best = best_a = best_b = 0
    for cell in range(width + 2):
        before[cell] = now[cell] = _NEVER
    for taken_b in range(min(band, num_b) + 1):
        if edit * taken_b <= drop:
            before[taken_b + band + 1] = -edit * taken_b
    for taken_a in range(1, num_a + 1):
        word = a[i + step * (taken_a - 1)]
        alive = False
        now[0] = _NEVER
        for cell in range(1, width + 1):  # taken_b - taken_a runs from -band to band
            taken_b = taken_a + cell - 1 - band
            score = _NEVER
            if 0 <= taken_b <= num_b:
                if taken_b and before[cell] != _NEVER:
                    score = before[cell] + (match if word == b[j + step * (taken_b - 1)] else -edit)
                score = max(score, max(before[cell + 1], now[cell - 1]) - edit)
                if score < best - drop:
                    score = _NEVER
                elif score > best:
                    best, best_a, best_b = score, taken_a, taken_b
            now[cell] = score
            alive = alive or score != _NEVER
        if not alive:
            break
        before, now = now, before
    return best_a, best_b


@part
def _anchored(a, i, b, j, anchor):  # type: ignore[no-untyped-def]
    if j < 0 or j + anchor > len(b) or i + anchor > len(a):
        return False
    for word in range(anchor):  # noqa: SIM110  # compiled
        if a[i + word] != b[j + word]:
            return False
    return True


@kernel(
    types.int64(
        *(U32, U32, types.int64, types.int64, types.int64),
        *(types.int64, types.int64, types.int64, types.int64, types.int64, _PLACES, _PLACES),
    )
)
def _align(a, b, first, last, slip, anchor, match, edit, drop, band, rows, found):  # type: ignore[no-untyped-def]
    count = 0
    i, floor_a, floor_b = first, 0, 0
    while i <= last and count < len(found):
        j = np.int64(-1)
        for off in range(band + 1):
            if _anchored(a, i, b, i + slip - off, anchor) and i + slip - off >= floor_b:
                j = i + slip - off
                break
            if _anchored(a, i, b, i + slip + off, anchor) and i + slip + off >= floor_b:
                j = i + slip + off
                break
        if j < 0:
            i += 1
            continue
        back_a, back_b = _extend(
            a, i - 1, i - floor_a, b, j - 1, j - floor_b, -1, match, edit, drop, band, rows
        )
        end_a, end_b = i + anchor, j + anchor
        on_a, on_b = _extend(
            a, end_a, len(a) - end_a, b, end_b, len(b) - end_b, 1, match, edit, drop, band, rows
        )
        floor_a, floor_b = end_a + on_a, end_b + on_b
        found[count, 0], found[count, 1] = i - back_a, floor_a
        found[count, 2], found[count, 3] = j - back_b, floor_b
        count += 1
        slip = floor_b - floor_a
        i = floor_a
    return count


def align(
    a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32], first: int, last: int, slip: int, scoring: Scoring
) -> npt.NDArray[np.int64]:
    """Return stretches of `a` that `b` holds but for some words, each as start and end in `a` and in `b`.

    Anchors are looked for where they begin at a[first] to a[last], near b[i + slip]. Stretches are in order
    and do not overlap, on either side.
    """
    rows = np.empty((2, 2 * scoring.band + 3), np.int64)
    found = np.empty(((last - first) // scoring.anchor + 2, 4), np.int64)
    count = _align(a, b, first, last, slip, *scoring, rows, found)
    return found[:count]
