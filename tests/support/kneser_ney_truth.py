"""Interpolated Kneser-Ney as Chen and Goodman 1999 write it, over tuples of words, and the same as ARPA."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

Gram = tuple[Hashable, ...]
BEGIN = "<s>"


class KneserNey:
    """Counts of all n-grams of some texts, each a sequence of words; nothing is pruned."""

    def __init__(self, texts: Sequence[Sequence[Hashable]], order: int) -> None:
        self.order = order
        raw: Counter[Gram] = Counter()
        for text in texts:
            words = (BEGIN, *text)
            for length in range(1, order + 1):
                raw.update(words[i : i + length] for i in range(len(words) - length + 1))
        before: dict[Gram, set[Hashable]] = defaultdict(set)
        for gram in raw:
            before[gram[1:]].add(gram[0])
        del raw[BEGIN,]
        self.adjusted = {
            gram: count if len(gram) == order or gram[0] == BEGIN else len(before[gram])
            for gram, count in raw.items()
        }
        self.total: Counter[Gram] = Counter()
        self.followers: Counter[Gram] = Counter()
        for gram, count in self.adjusted.items():
            self.total[gram[:-1]] += count
            self.followers[gram[:-1]] += 1
        self.discounts = [0.0] + [self._discount(length) for length in range(1, order + 1)]

    def _discount(self, length: int) -> float:
        times = Counter(count for gram, count in self.adjusted.items() if len(gram) == length)
        return min(times[1] / (times[1] + 2 * times[2]), 0.95) if times[1] and times[2] else 0.75

    def chance(self, gram: Gram) -> float:
        """p(last word | the words before it)."""
        context, discount = gram[:-1], self.discounts[len(gram)]
        if not gram:
            return 1 / (self.followers[()] + 1)
        lower = self.chance(gram[1:]) if context else 1 / (self.followers[()] + 1)
        if not self.total[context]:
            return lower
        own = max(self.adjusted.get(gram, 0) - discount, 0.0)
        return (own + discount * self.followers[context] * lower) / self.total[context]

    def write_arpa(self, path: Path) -> None:
        """Write the model in the form that KenLM reads."""
        by_length = [sorted(g for g in self.adjusted if len(g) == n) for n in range(1, self.order + 1)]
        by_length[0] = [("<unk>",), (BEGIN,), ("</s>",), *by_length[0]]
        lines = ["\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(by_length, 1)), ""]
        for length, grams in enumerate(by_length, 1):
            lines.append(f"\\{length}-grams:")
            for gram in grams:
                chance = -99.0 if gram == (BEGIN,) else math.log10(self.chance(gram))
                rest = self.discounts[min(length + 1, self.order)] * self.followers[gram]
                weight = math.log10(rest / self.total[gram]) if self.total[gram] else 0.0
                tail = f"\t{weight:.9g}" if length < self.order else ""
                lines.append(f"{chance:.9g}\t{' '.join(map(str, gram))}{tail}")
            lines.append("")
        path.write_text("\n".join([*lines, "\\end\\", ""]))
