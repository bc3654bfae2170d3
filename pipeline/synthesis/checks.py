"""What is wrong with an answer: refusals, copies of prompt or seed, ends in the middle; each by a rule."""

from __future__ import annotations

import re
from typing import NamedTuple

from gristmill.pipeline.synthesis.answers import Answer
from gristmill.pipeline.synthesis.settings import Checks

_GRAM = 8  # words: of running text, a run of eight that two share is hardly ever chance
_REFUSAL_CHARACTERS = 400
_REFUSAL = re.compile(
    r"\b(?:I(?:'|\u2019)?m (?:very |really )?sorry\b|I am (?:very |really )?sorry\b|I apologi[sz]e\b"
    r"|I (?:can(?:no|'|\u2019)t|can not|won(?:'|\u2019)t|will not|am (?:not able|unable) to"
    r"|(?:'|\u2019)?m (?:not able|unable) to) "
    r"(?:\w+ ){0,2}(?:help|assist|provide|create|generate|fulfill?|write|comply|continue|answer|do that)"
    r"|[Aa]s an (?:AI|artificial intelligence|large language|language model)\b"
    r"|(?:against|violates?) (?:my|our) (?:guidelines|policy|policies|programming))"
)
_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_PREFACE = re.compile(
    r"\A\s*(?:Sure|Certainly|Of course|Okay|OK|Absolutely|Here(?:'|\u2019)?s|Here (?:is|are)|Below is)\b"
    r"[^\n]{0,200}:[ \t]*\n+"
)
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*(?=\s|\Z)")
_WORD = re.compile(r"\w+")


class Judged(NamedTuple):
    """An answer's text as it is kept, the rule that removes it with what it measured and its bound, and what
    was taken off."""

    text: str
    rule: str | None = None
    value: float | None = None
    bound: float | None = None
    notes: tuple[str, ...] = ()


def judge(checks: Checks, answer: Answer, instruction: str, passage: str) -> Judged:
    """Judge an answer to a prompt, which is an instruction around a passage."""
    text, notes = answer.text.strip(), []
    if checks.strip:
        for name, pattern in (("thinking", _THINKING), ("preface", _PREFACE)):
            stripped = pattern.sub("", text, count=1).strip()
            if stripped != text:
                notes.append(name)
                text = stripped
    if not text:
        return Judged("", "generate.empty", notes=tuple(notes))
    if checks.refusals and _REFUSAL.search(text[:_REFUSAL_CHARACTERS]):
        return Judged(text, "generate.refusal", notes=tuple(notes))
    if answer.finish == "length" and checks.truncated != "keep":
        end = max((found.end() for found in _SENTENCE_END.finditer(text)), default=0)
        if checks.truncated == "remove" or not end:
            return Judged(text, "generate.truncated", notes=tuple(notes))
        if end < len(text):
            notes.append("cut")
            text = text[:end]
    words = _words(text)
    if len(words) < checks.min_words:
        return Judged(text, "generate.min_words", len(words), checks.min_words, tuple(notes))
    own = _grams(words)
    asked = _grams(_words(instruction))
    if (share := len(asked & own) / max(1, len(asked))) > checks.max_prompt_share:
        return Judged(text, "generate.prompt_copy", share, checks.max_prompt_share, tuple(notes))
    if (share := len(own & _grams(_words(passage))) / max(1, len(own))) > checks.max_seed_share:
        return Judged(text, "generate.seed_copy", share, checks.max_seed_share, tuple(notes))
    return Judged(text, notes=tuple(notes))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _grams(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + _GRAM]) for at in range(len(words) - _GRAM + 1)}
