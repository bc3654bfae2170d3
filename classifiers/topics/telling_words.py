"""What a topic is called: the words by which its documents differ most from all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.text.embedding import Counted, Space
from gristmill.text.words import HAS_LETTER, scan, text_spans

Ints = npt.NDArray[np.int64]
_APOSTROPHES = frozenset("'’")  # of words that are two: it's, you’re
_WORDS = 12  # told of a topic
_NAME_WORDS = 3
_READ_DOCUMENTS = 400  # of a topic, for the spelling of its words
_RARE = np.log(10)  # weight of a word in a tenth of the documents
_LEAST_LETTERS = 3  # of a word in a name, but for scripts whose words are single letters


def telling_words(
    space: Space, counted: Counted, texts: pa.Array, topics: Ints, number: int
) -> list[list[str]]:
    """Return for each topic its telling words, first the one that tells most.

    A word tells by the difference of its mean TF-IDF weight in the topic's documents and in all others; of
    the words that share a hash the most frequent one of the topic is shown. Words in a tenth of all documents
    and more are left out: they tell how something is said rather than what.
    """
    places = np.full(1 << space.bits, -1, np.int64)
    places[space.features] = np.arange(len(space.features))
    columns, rows = places[counted.features], np.repeat(np.arange(len(topics)), np.diff(counted.rows))
    known = (columns >= 0) & (topics[rows] >= 0)
    columns, rows = columns[known], rows[known]
    values = (1 + np.log(counted.counts[known])) * space.weights[columns].astype(np.float64)
    lengths = np.sqrt(np.bincount(rows, values**2, len(topics)))
    values = values / lengths[rows]
    keys = topics[rows] * len(space.features) + columns
    sums = np.bincount(keys, values, number * len(space.features)).reshape(number, -1)
    sizes = np.bincount(topics[topics >= 0], minlength=number)
    others = (sums.sum(0) - sums) / np.maximum(1, sizes.sum() - sizes)[:, None]
    telling = sums / np.maximum(1, sizes)[:, None] - others
    telling[:, space.weights < _RARE] = -np.inf
    found = []
    for topic in range(number):
        best = np.argsort(-telling[topic], kind="stable")[: 2 * _WORDS]
        spelled = _spelled(space, texts, np.flatnonzero(topics == topic)[:_READ_DOCUMENTS], best)
        found.append(
            [spelled[place] for place in best.tolist() if _APOSTROPHES.isdisjoint(spelled.get(place, "'"))][
                :_WORDS
            ]
        )
    return found


def named(words: Sequence[Sequence[str]]) -> list[str]:
    """Name topics by their first words, each name once."""
    names: list[str] = []
    for own in words:
        good = [word for word in own if len(word) >= _LEAST_LETTERS or not word.isascii()]
        base = " ".join((good or list(own) or ["topic"])[:_NAME_WORDS])
        same = sum(name == base or name.startswith(f"{base} (") for name in names)
        names.append(f"{base} ({same + 1})" if same else base)
    return names


def _spelled(space: Space, texts: pa.Array, rows: Ints, wanted: Ints) -> dict[int, str]:
    """The spelling of some words, by their place in the space, as some texts have them."""
    starts, stops, data = text_spans(texts.take(pa.array(rows)))
    words = scan(starts, stops, data)
    features = (words.hash_folded >> np.uint64(64 - space.bits)).astype(np.int64)
    asked = space.features[wanted].astype(np.int64)
    hits = np.flatnonzero(np.isin(features, asked) & (words.flags & HAS_LETTER > 0))
    counts: dict[int, Counter[str]] = {}
    for hit in hits.tolist():
        core = data[words.core_start[hit] : words.core_end[hit]].tobytes().decode("utf-8", "replace").lower()
        counts.setdefault(int(features[hit]), Counter())[core] += 1
    place_of = dict(zip(asked.tolist(), wanted.tolist(), strict=True))
    return {
        place_of[feature]: min(own, key=lambda word: (-own[word], word)) for feature, own in counts.items()
    }
