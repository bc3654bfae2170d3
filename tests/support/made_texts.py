"""Texts of drawn words, near copies of them, and their exact similarity."""

from __future__ import annotations

import itertools
import random

VOCABULARY = [
    "".join(letters) for letters in itertools.product("bdfgklmn", "aeiou", "prstvwxz", "aeiou", ("", "n"))
]


def page(seed: int, length: int = 120) -> list[str]:
    return random.Random(seed).choices(VOCABULARY, k=length)


def mutated(words: list[str], places: list[int]) -> list[str]:
    return [f"new{place}" if place in places else word for place, word in enumerate(words)]


def jaccard(a: str, b: str, n: int = 5) -> float:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    return len(grams(a) & grams(b)) / len(grams(a) | grams(b))


def corpus(size: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    texts: list[str] = []
    while len(texts) < size:
        words = page(chance.randrange(10**9), chance.choice([20, 60, 150]))
        for _ in range(chance.choice([1, 1, 2, 4])):
            texts.append(
                " ".join(
                    mutated(words, [chance.randrange(len(words)) for _ in range(chance.choice([0, 1, 3, 9]))])
                )
            )
    return texts[:size]
