"""The presets' signals in plain Python, close to the wording of their sources: the definition of the kernels.

Every function takes a text and returns {signal: count}. Where a source leaves a word undefined, it is a word
of `gristmill.text.reference`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gristmill.filters.published.constants import (
    CITATION,
    ELLIPSIS,
    LOREM_IPSUM,
    POLICY_PHRASES,
    STOP_WORDS,
)
from gristmill.text.reference import fold, words
from gristmill.text.tables import END, point_class


def gopher(text: str) -> dict[str, int]:
    """Quality signals (Rae et al. 2021, appendix A1.1)."""
    found = words(text)
    lines = text.splitlines()
    cores = [word.core for word in found if word.core]
    folded = {"".join(fold(char) for char in core) for core in cores}
    return {
        "words": len(found),
        "content_words": len(cores),
        "content_word_chars": sum(map(len, cores)),
        "letter_words": sum(any(char.isalpha() for char in word.text) for word in found),
        "stop_words": len(folded & set(STOP_WORDS)),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
    }


def repetition(text: str) -> dict[str, int]:
    """Repetition signals (Rae et al. 2021, table A1), counted as FineWeb's code counts them."""
    tokens = [word.text for word in words(text)]
    lines = re.split("\n+", text) if text else []
    paragraphs = re.split("\n{2,}", text.strip()) if text else []
    signals = {"chars": len(text), "lines": len(lines), "paragraphs": len(paragraphs)}
    for name, parts in (("line", lines), ("paragraph", paragraphs)):
        signals[f"duplicate_{name}s"], signals[f"duplicate_{name}_chars"] = _duplicates(parts)
    for n in (2, 3, 4):
        signals[f"top_{n}gram_chars"] = _top_ngram_chars(tokens, n)
    for n in (5, 6, 7, 8, 9, 10):
        signals[f"duplicate_{n}gram_chars"] = _duplicate_ngram_chars(tokens, n)
    return signals


def _duplicates(parts: Sequence[str]) -> tuple[int, int]:
    seen: set[str] = set()
    count = chars = 0
    for part in parts:
        if part in seen:
            count, chars = count + 1, chars + len(part)
        seen.add(part)
    return count, chars


def _top_ngram_chars(tokens: Sequence[str], n: int) -> int:
    """Characters within the most frequent n-gram, the first of several: its length, joined by spaces, times
    its count."""
    counts = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    return max((count * (sum(map(len, ngram)) + n - 1) for ngram, count in counts.most_common(1)), default=0)


def _duplicate_ngram_chars(tokens: Sequence[str], n: int) -> int:
    """Characters of n-grams seen before, walking on behind each one found, so that none counts twice."""
    seen: set[tuple[str, ...]] = set()
    chars = i = 0
    while i + n <= len(tokens):
        ngram = tuple(tokens[i : i + n])
        if ngram in seen:
            chars += sum(map(len, ngram))
            i += n
        else:
            seen.add(ngram)
            i += 1
    return chars


def fineweb(text: str, short_line_chars: int = 30) -> dict[str, int]:
    """FineWeb's own signals (Penedo et al. 2024, section 3.6; datatrove FineWebQualityFilter)."""
    lines = [line for line in text.split("\n") if line.strip()]
    return {
        "text_lines": len(lines),
        "end_mark_lines": sum(bool(point_class(ord(line[-1])) & END) for line in lines),
        "short_lines": sum(len(line) <= short_line_chars for line in lines),
        "duplicate_text_line_chars": _duplicates(lines)[1],
        "line_chars": len(text.replace("\n", "")),
        "newlines": text.count("\n"),
        "words": len(words(text)),
    }


def mc4_paragraphs(text: str) -> dict[str, int]:
    """mC4's paragraph rule (c4_utils.paragraph_filter): the third longest line."""
    lengths = sorted((len(line) for line in text.split("\n")), reverse=True)
    return {"split_lines": len(lengths), "third_line_chars": lengths[2] if len(lengths) > 2 else 0}


@dataclass(frozen=True, slots=True)
class C4Settings:
    """What c4_utils.clean_page fixes; the variants of the rules change it."""

    min_words_per_line: int = 5
    max_word_chars: int = 1000
    end_mark: bool = True
    end_marks: str = '.?!"'


DROPS = ("long_word", "no_end_mark", "few_words", "javascript", "policy")


def count_sentences(text: str) -> int:
    """Count sentences as the word pass numbers them."""
    found = words(text)
    return found[-1].sentence + 1 if found else 0


def c4(
    text: str, settings: C4Settings, sentences: Callable[[str], int] = count_sentences
) -> tuple[dict[str, int], str]:
    """Clean a page as c4_utils.clean_page does; return its signals and the cleaned text.

    clean_page stops at the first lorem ipsum or bracket; here it counts on, so that all rules see the whole
    page.
    """
    signals = Counter(
        {name: 0 for name in ("lorem_ipsum", "curly_brackets", "sentences", "kept_lines", *_drop_names())}
    )
    kept = []
    for line in text.splitlines():
        verdict, line = _c4_line(line.strip(), settings, signals)
        if verdict is None:
            signals["sentences"] += sentences(line)
            signals["kept_lines"] += 1
            kept.append(line)
        else:
            signals[f"dropped_{verdict}"] += 1
    return {"chars": len(text), **signals}, "\n".join(kept).strip()


def _drop_names() -> Iterator[str]:
    return (f"dropped_{name}" for name in DROPS)


def _c4_line(line: str, settings: C4Settings, signals: Counter[str]) -> tuple[str | None, str]:
    """Return why a line is dropped, or None, and the line without citations."""
    if any(len(word) > settings.max_word_chars for word in line.split()):
        return "long_word", line
    line = CITATION.sub("", line)
    if settings.end_mark and (not line.endswith(tuple(settings.end_marks)) or line.endswith(ELLIPSIS)):
        return "no_end_mark", line
    if len(line.split()) < settings.min_words_per_line:
        return "few_words", line
    lower = line.lower()
    signals["lorem_ipsum"] += LOREM_IPSUM in lower
    if "javascript" in lower:
        return "javascript", line
    signals["curly_brackets"] += "{" in line
    if any(phrase in lower for phrase in POLICY_PHRASES):
        return "policy", line
    return None, line
