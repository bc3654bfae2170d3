from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.below.align import Scoring, align

Cells = dict[int, int]


def extend(a: list[int], b: list[int], scoring: Scoring) -> tuple[int, int]:
    """How many words of either the best prefix alignment takes, by the definition, a row of a table at a
    time."""
    best, best_a, best_b = 0, 0, 0
    before: Cells = {
        taken: -scoring.edit * taken
        for taken in range(min(scoring.band, len(b)) + 1)
        if scoring.edit * taken <= scoring.drop
    }
    for taken_a, word in enumerate(a, start=1):
        now: Cells = {}
        for taken_b in range(max(0, taken_a - scoring.band), min(len(b), taken_a + scoring.band) + 1):
            ways = []
            if taken_b - 1 in before:
                equal = word == b[taken_b - 1]
                ways.append(before[taken_b - 1] + (scoring.match if equal else -scoring.edit))
            ways += [before[taken_b] - scoring.edit] if taken_b in before else []
            ways += [now[taken_b - 1] - scoring.edit] if taken_b - 1 in now else []
            if ways and max(ways) >= best - scoring.drop:
                now[taken_b] = max(ways)
                if max(ways) > best:
                    best, best_a, best_b = max(ways), taken_a, taken_b
        if not now:
            break
        before = now
    return best_a, best_b


def plain(
    a: list[int], b: list[int], first: int, last: int, slip: int, scoring: Scoring
) -> list[tuple[int, int, int, int]]:
    found, i, floor_a, floor_b, k = [], first, 0, 0, scoring.anchor
    while i <= last:
        offs = [sign * off for off in range(scoring.band + 1) for sign in (-1, 1)]
        places = [i + slip + off for off in offs]
        equal = [
            j for j in places if j >= floor_b and len(a[i : i + k]) == k and a[i : i + k] == b[j : j + k]
        ]
        if not equal:
            i += 1
            continue
        j = equal[0]
        back_a, back_b = extend(a[floor_a:i][::-1], b[floor_b:j][::-1], scoring)
        on_a, on_b = extend(a[i + k :], b[j + k :], scoring)
        floor_a, floor_b = i + k + on_a, j + k + on_b
        found.append((i - back_a, floor_a, j - back_b, floor_b))
        slip, i = floor_b - floor_a, floor_a
    return found


def edits(a: list[int], b: list[int]) -> tuple[int, int]:
    """The fewest edits that make one row of words of the other, and the words that are equal then."""
    table = {(0, j): (j, 0) for j in range(len(b) + 1)} | {(i, 0): (i, 0) for i in range(len(a) + 1)}
    for i, x in enumerate(a, start=1):
        for j, y in enumerate(b, start=1):
            cost, same = table[i - 1, j - 1]
            ways = [(cost + (x != y), same - (x == y))]
            ways += [(cost + 1, same) for cost, same in (table[i - 1, j], table[i, j - 1])]
            table[i, j] = min(ways)
    cost, same = table[len(a), len(b)]
    return cost, -same


words = st.lists(st.integers(0, 3), max_size=40)
scorings = st.builds(
    Scoring.of, st.sampled_from([0.1, 0.2, 0.34]), st.integers(1, 6), st.integers(2, 4), st.integers(1, 5)
)


@given(words, words, words, scorings, st.data())
@settings(max_examples=150, deadline=None)
def test_the_kernel_equals_the_definition(
    head: list[int], shared: list[int], tail: list[int], scoring: Scoring, data: st.DataObject
) -> None:
    a, b = head + shared + tail, tail[:5] + shared + head
    for _ in range(data.draw(st.integers(0, 4))):
        b.insert(data.draw(st.integers(0, len(b))), data.draw(st.integers(0, 3)))
    if len(a) < scoring.anchor:
        return
    first = data.draw(st.integers(0, len(a) - scoring.anchor))
    last = data.draw(st.integers(first, len(a) - scoring.anchor))
    slip = data.draw(st.integers(-10, 10))
    arrays = (np.array(side, np.uint32) for side in (a, b))
    found = align(*arrays, first, last, slip, scoring)
    assert [tuple(row) for row in found.tolist()] == plain(a, b, first, last, slip, scoring)


@given(words, st.lists(st.tuples(st.integers(0, 39), st.integers(0, 3)), max_size=6))
@settings(max_examples=80, deadline=None)
def test_stretches_have_fewer_edits_than_the_bound_and_do_not_overlap(
    text: list[int], changes: list[tuple[int, int]]
) -> None:
    scoring = Scoring.of(0.2, 5, 3, 4)
    other = list(text)
    for place, word in changes:
        other[place : place + 1] = [word]
    if len(text) < 3:
        return
    found = align(np.array(text, np.uint32), np.array(other, np.uint32), 0, len(text) - 3, 0, scoring)
    for start, end, of, to in found.tolist():
        cost, same = edits(text[start:end], other[of:to])
        assert Fraction(cost, cost + same) < Fraction(1, 5)
    assert (found[1:, 0] >= found[:-1, 1]).all() and (found[1:, 2] >= found[:-1, 3]).all()


def test_a_passage_of_other_text_is_not_bridged_and_slips_are_followed() -> None:
    scoring = Scoring.of(0.2, 8, 8, 16)
    text = np.arange(400, dtype=np.uint32)
    other = np.concatenate([text[:100], np.arange(900, 909, dtype=np.uint32), text[109:]])
    whole = align(text, other, 0, 392, 0, scoring)
    assert whole.tolist() == [[0, 100, 0, 100], [109, 400, 109, 400]]  # nine words in a row differ
    other = np.concatenate([text[:100], np.arange(900, 907, dtype=np.uint32), text[100:]])
    assert align(text, other, 0, 392, 0, scoring).tolist() == [[0, 400, 0, 407]]
