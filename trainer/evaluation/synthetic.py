"""Small tasks whose text can be mixed in at a known dose, so that abilities appear at toy size.

    rows(kind, count, seed)    # to score: a prompt and its answer
    text(kind, count, seed)    # to train on: many solved tasks, one a line

The questions of a seed are drawn by a generator of their own; rows and texts of different seeds share some
where a kind has few (arithmetic has 10,000 sums): score on another seed and compare with the dose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from gristmill.trainer.fields import one_of

_WORDS = [
    "stone", "river", "light", "cloud", "table", "green", "seven", "horse", "paper", "north", "glass",
    "music", "bread", "tower", "ocean", "silver", "garden", "winter", "copper", "letter", "market",
    "orange", "window", "yellow", "candle", "mirror", "bridge", "forest", "summer", "needle",
]  # fmt: skip
_SYLLABLES = ("ka", "lo", "mi", "ru", "te", "sa", "no", "vi", "pe", "du")


def _copy(draw: random.Random) -> tuple[str, str]:
    words = " ".join(draw.choices(_WORDS, k=draw.randint(2, 5)))
    return f"copy: {words} ->", f" {words}"


def _reverse(draw: random.Random) -> tuple[str, str]:
    words = draw.choices(_WORDS, k=draw.randint(2, 5))
    return f"reverse: {' '.join(words)} ->", f" {' '.join(reversed(words))}"


def _arithmetic(draw: random.Random) -> tuple[str, str]:
    a, b = draw.randint(0, 99), draw.randint(0, 99)
    if draw.random() < 0.5:
        return f"{a} + {b} =", f" {a + b}"
    return f"{max(a, b)} - {min(a, b)} =", f" {max(a, b) - min(a, b)}"


def _lookup(draw: random.Random) -> tuple[str, str]:
    keys = draw.sample(_WORDS, draw.randint(2, 5))
    values = [draw.randint(10, 99) for _ in keys]
    at = draw.randrange(len(keys))
    listed = ", ".join(f"{key} is {value}" for key, value in zip(keys, values, strict=True))
    return f"lookup: {listed}; {keys[at]} is", f" {values[at]}"


def toy_word(word: str) -> str:
    """A word of the toy language: a syllable for each of its letters but the vowels."""
    return "".join(
        _SYLLABLES[(ord(letter) * 7) % len(_SYLLABLES)] for letter in word if letter not in "aeiou"
    )


def _translation(draw: random.Random) -> tuple[str, str]:
    words = draw.choices(_WORDS, k=draw.randint(1, 3))
    # The language puts its words in the other order, as many do with noun and adjective.
    return f"translate: {' '.join(words)} ->", f" {' '.join(toy_word(word) for word in reversed(words))}"


KINDS: Mapping[str, Callable[[random.Random], tuple[str, str]]] = {
    "copy": _copy,
    "reverse": _reverse,
    "arithmetic": _arithmetic,
    "lookup": _lookup,
    "translation": _translation,
}


def rows(kind: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return tasks to score; an unknown kind is refused with the nearest known one."""
    one_of("kind", kind, KINDS, "kind of task")
    draw = random.Random(f"{kind}/{seed}")
    made = [KINDS[kind](draw) for _ in range(count)]
    return [{"prompt": prompt, "answer": answer} for prompt, answer in made]


def text(kind: str, count: int, seed: int = 1) -> str:
    """Return solved tasks as text to train on, one a line."""
    return "".join(f"{row['prompt']}{row['answer']}\n" for row in rows(kind, count, seed))
