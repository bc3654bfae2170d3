"""How much of a line a fastText model knows: what of a score comes from words, not from hash collisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gristmill.classifiers.settings import ClassifierSettings
from gristmill.fasttext_model import SEPARATORS

Int64s = npt.NDArray[np.int64]
_SEPARATOR = re.compile(f"[{re.escape(SEPARATORS)}\n]+")


class Counts(NamedTuple):
    """Of each line: occurrences of known words and of all with a letter, and how many known words differ."""

    known: Int64s
    lettered: Int64s
    different: Int64s

    @property
    def telling(self) -> Int64s:
        """Known words, of those said again and again no more than thrice as many as differ."""
        return np.minimum(self.known, 3 * self.different)

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """The known share of the words with a letter."""
        return np.asarray(self.known / np.maximum(self.lettered, 1))


class KnownWords:
    """A model's vocabulary, for counting; a model with subwords knows a vector for every word."""

    def __init__(self, model: Any) -> None:
        self._knows = getattr(model, "knows", None)
        self._has_subwords = False
        if self._knows:  # hashed features: no list of words
            return
        self._words = frozenset(
            word
            for word in model.get_words(on_unicode_error="ignore")
            if _lettered(word) and not _is_letter(word)
        )
        self._has_subwords = model.f.getArgs().maxn > 0

    def count(self, lines: Sequence[str]) -> Counts:
        """Count the words with a letter of each line, and those that the model knows.

        A word of digits and marks alone says nothing of a text's quality, whether it is known or not. Nor
        does one letter of an alphabet with cases: a unit, a variable.
        """
        counts = Counts(*(np.zeros(len(lines), np.int64) for _ in Counts._fields))
        for row, line in enumerate(lines):
            words = _SEPARATOR.split(line)
            if self._knows or self._has_subwords:
                mine = [word for word in words if _lettered(word)]
                known = [word for word in mine if not _is_letter(word)]
                if self._knows:
                    known = [word for word in known if self._knows(word)]
                counts.lettered[row] = len(mine)
                counts.known[row], counts.different[row] = len(known), len(set(known))
                continue
            inside = sum(map(self._words.__contains__, words))
            others = sum(map(_lettered, (word for word in words if word not in self._words)))
            counts.known[row], counts.lettered[row] = inside, inside + others
            counts.different[row] = len(self._words.intersection(words))
        return counts


def too_little(settings: ClassifierSettings, counts: Counts) -> npt.NDArray[np.bool_]:
    """Which texts have too few known words for a score."""
    few = counts.telling < settings.min_known_words
    return np.asarray(few | (counts.shares < settings.min_known_fraction))


def _lettered(word: str) -> bool:
    return word.isalpha() or any(map(str.isalpha, word))


def _is_letter(word: str) -> bool:
    """Whether a word is one letter of an alphabet with cases; one of Han or Hangul may be a word."""
    return len(word) == 1 and word.lower() != word.upper()
