"""How much of a line a fastText model knows: what of a score comes from words, not from hash collisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gristmill.classifiers.settings import ClassifierSettings
from gristmill.fasttext_model import SEPARATORS

Int64s = npt.NDArray[np.int64]
_SEPARATOR = re.compile(f"[{re.escape(SEPARATORS)}\n]+")


class KnownWords:
    """A model's vocabulary, for counting; a model with subwords knows a vector for every word."""

    def __init__(self, model: Any) -> None:
        self._knows = getattr(model, "knows", None)
        if self._knows:  # hashed features: no list of words
            return
        self._words = frozenset(
            word for word in model.get_words(on_unicode_error="ignore") if _lettered(word)
        )
        self._has_subwords = model.f.getArgs().maxn > 0

    def count(self, lines: Sequence[str]) -> tuple[Int64s, Int64s]:
        """Return per line the words with a letter that the model knows, and all that have one.

        A word of digits and marks alone says nothing of a text's quality, whether it is known or not.
        """
        known, lettered = np.zeros(len(lines), np.int64), np.zeros(len(lines), np.int64)
        for row, line in enumerate(lines):
            words = _SEPARATOR.split(line)
            if self._knows:
                mine = [word for word in words if _lettered(word)]
                known[row], lettered[row] = sum(map(self._knows, mine)), len(mine)
                continue
            inside = sum(map(self._words.__contains__, words))
            others = sum(map(_lettered, (word for word in words if word not in self._words)))
            lettered[row] = inside + others
            known[row] = lettered[row] if self._has_subwords else inside
        return known, lettered


def too_little(settings: ClassifierSettings, known: Int64s, lettered: Int64s) -> npt.NDArray[np.bool_]:
    """Which texts have too few known words for a score."""
    shares = known / np.maximum(lettered, 1)
    return np.asarray((known < settings.min_known_words) | (shares < settings.min_known_fraction))


def _lettered(word: str) -> bool:
    return word.isalpha() or any(map(str.isalpha, word))
