"""How well an extracted text matches gold: F1 of word 4-gram multisets, and snippets that must and must not
be in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

SHINGLE_WORDS = 4
_WIDE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LAYOUT = {0xAD: None, 0x200B: None, 0x2060: None, 0xFEFF: None}
_WORD = re.compile(rf"[{_WIDE}]|[^\W{_WIDE}]+")


class Score(NamedTuple):
    """Harmonic mean, precision and recall, each in 0..1."""

    f1: float
    precision: float
    recall: float


class Snippets(NamedTuple):
    """Wanted snippets found and missed, and unwanted ones found."""

    found: int
    missed: int
    leaked: int

    @property
    def weight(self) -> int:
        """What a page's F1 weighs in the F1 over all snippets of many pages."""
        return 2 * self.found + self.missed + self.leaked

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN without any."""
        return 2 * self.found / self.weight if self.weight else float("nan")


def split_words(text: str) -> list[str]:
    """Split into lower-case words; each Han or Kana character is one."""
    return _WORD.findall(text.lower())


def shingles(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Count the 4-grams of a text; a text of fewer words is one shingle."""
    if len(words) < SHINGLE_WORDS:
        return Counter([tuple(words)] if words else [])
    return Counter(zip(*(words[k:] for k in range(SHINGLE_WORDS)), strict=False))


def score(text: str, gold: str) -> Score:
    """Compare an extracted text with the whole gold text."""
    got, wanted = shingles(split_words(text)), shingles(split_words(gold))
    shared = sum((got & wanted).values())
    if not shared:
        return Score(0.0, 0.0, 0.0)
    precision, recall = shared / got.total(), shared / wanted.total()
    return Score(2 * precision * recall / (precision + recall), precision, recall)


def as_one_line(text: str) -> str:
    """Collapse white space and drop what only steers layout (soft hyphens, zero-width spaces), as snippets
    are compared."""
    return " ".join(text.translate(_LAYOUT).split())


def count_snippets(text: str, wanted: Sequence[str], unwanted: Sequence[str]) -> Snippets:
    """Count the wanted and unwanted snippets that are in a text, as parts of it: many are cut within a
    word."""
    line = as_one_line(text)
    inside = [as_one_line(snippet) in line for snippet in wanted if snippet.strip()]
    outside = [as_one_line(snippet) in line for snippet in unwanted if snippet.strip()]
    return Snippets(sum(inside), len(inside) - sum(inside), sum(outside))
