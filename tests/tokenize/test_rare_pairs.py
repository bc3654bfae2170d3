"""Words are cut where no merge reaches: the same merges follow, and nothing is counted twice or lost."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.tokenize.training.rare_pairs import MOST_TIMES, Words, without_rare_pairs
from tests.tokenize.test_merges import defined

Listed = list[tuple[tuple[int, ...], int]]


def arrays(listed: Listed) -> Words:
    return Words(
        np.array([one for word, _ in listed for one in word], np.int32),
        np.cumsum([0, *(len(word) for word, _ in listed)]),
        np.array([times for _, times in listed], np.int64),
    )


def listing(words: Words) -> Listed:
    return [
        (tuple(words.symbols[begin:end].tolist()), times)
        for (begin, end), times in zip(pairwise(words.starts.tolist()), words.counts.tolist(), strict=True)
    ]


def pairs_of(listed: Listed) -> Counter[tuple[int, int]]:
    counts: Counter[tuple[int, int]] = Counter()
    for word, times in listed:
        for pair in pairwise(word):
            counts[pair] += times
    return counts


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 5), min_size=1, max_size=8).map(tuple), st.sampled_from([1, 1, 2, 5, 30])
        ),
        max_size=40,
    ),
    st.integers(1, 12),
    st.sampled_from([2, 3, 5, 16]),
)
def test_the_same_merges_follow(listed: Listed, num_new: int, longest: int) -> None:
    left = listing(without_rare_pairs(arrays(listed), num_new, longest))
    assert defined(left, 6, num_new, longest) == defined(listed, 6, num_new, longest)
    assert len({word for word, _ in left}) == len(left) and all(len(word) > 1 for word, _ in left)
    # A pair is there as often as it was, or not at all.
    before, after = pairs_of(listed), pairs_of(left)
    assert all(times == before[pair] for pair, times in after.items())
    gone = [times for pair, times in before.items() if pair not in after]
    assert not gone or max(gone) < min(after.values(), default=MOST_TIMES)


def test_words_are_cut_at_pairs_that_are_too_rare() -> None:
    listed = [((0, 1), 9), ((2, 3), 7), ((0, 1, 2, 3), 1), ((4, 5), 1), ((3, 4, 0, 1), 1), ((6,), 50)]
    assert dict(listing(without_rare_pairs(arrays(listed), 2, 16))) == {(0, 1): 11, (2, 3): 8}
    # Of more symbols than there are words, any pair may become one.
    whole = dict(listing(without_rare_pairs(arrays(listed), 40, 16)))
    assert whole == {word: times for word, times in listed if len(word) > 1}
    assert listing(without_rare_pairs(arrays([]), 2, 16)) == []
    assert dict(listing(without_rare_pairs(arrays(listed), 0, 16))) == {(0, 1): 11}, "as for one symbol"


def test_a_word_that_is_longer_than_a_symbol_says_nothing_of_the_rarest_pair() -> None:
    listed = [((0, 1, 2), 9), ((3, 4), 5), ((5, 6), 2)]
    # Of `0 1 2` a symbol of two makes one merge; the second may be `3 4`, but `5 6` is no third.
    assert (5, 6) in dict(listing(without_rare_pairs(arrays(listed), 3, 2)))
    assert (5, 6) not in dict(listing(without_rare_pairs(arrays(listed), 2, 3)))


def test_counts_that_have_no_room_stay_apart() -> None:
    half = MOST_TIMES // 2 + 1
    listed = [((0, 1), half), ((2, 0, 1), half), ((0, 1), half), ((3, 4), half)]
    left = listing(without_rare_pairs(arrays(listed), 2, 16))
    assert sum(times for word, times in left if word == (0, 1)) >= 2 * half
    assert sum(times for word, times in left if (0, 1) in pairwise(word)) == 3 * half
    assert all(times <= MOST_TIMES for _, times in left)
    assert ((3, 4), half) in left, "a copy is not a second word"
