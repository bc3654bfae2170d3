"""What is wrong with an answer: refusals, copies of prompt or seed, ends in the middle; each by a rule."""

from __future__ import annotations

import re
from typing import NamedTuple

import pyarrow as pa

from gristmill.pipeline.synthesis.answers import Answer
from gristmill.pipeline.synthesis.refusals import declines
from gristmill.pipeline.synthesis.settings import Checks
from gristmill.text.words import words_of

_GRAM = 8  # words: of running text, a run of eight that two share is hardly ever chance
_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_PREFACE = re.compile(  # a first line that announces the text, in the languages of `refusals`
    r"\A\s*(?:(?:Sure|Certainly|Of course|Okay|OK|Absolutely|Here(?:'|\u2019)?s|Here (?:is|are)|Below is"
    r"|Natürlich|Gerne|Selbstverständlich|Sicher|Hier (?:ist|sind)|Bien sûr|Certainement|Voici|Voilà"
    r"|Claro|Por supuesto|Aquí (?:está|tienes|tiene)|Certo|Certamente|Ecco|Claro que sim|Aqui está"
    r"|Com certeza|Natuurlijk|Zeker|Hier is|Oczywiście|Oto|Jistě|Zde je|Självklart|Här är|Desigur|Iată"
    r"|Конечно|Вот|Звичайно|Ось|Tabii|Elbette|İşte|Tentu|Berikut|Chắc chắn|Dưới đây là|Φυσικά|Ορίστε"
    r"|बेशक|यहाँ|ज़रूर)\b"
    r"|بالتأكيد|بالطبع|إليك|فيما يلي|当然|當然|好的"
    r"|以下是|下面是|もちろん|承知|はい、|以下(?:は|に|が)|물론|네, |다음은|아래는)"
    r"[^\n]{0,200}[:：][ \t]*\n+"
)
_SENTENCE_END = re.compile(
    r"[.!?\u2026\u061f\u06d4\u0964\u0965][\"'\u201d\u2019)\]]*(?=\s|\Z)"
    r"|[\u3002\uff01\uff1f\uff61\uff0e][\"'\u201d\u2019\u300d\u300f\uff09)\]]*"  # no blank behind these
)


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
    if checks.refusals and declines(text):
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


def _words(text: str) -> list[int]:
    """The words' hashes, without regard to case and punctuation; a character of Han, Kana, Thai is a word."""
    words = words_of(pa.array([text.encode("utf-8", "replace").decode()], pa.large_string()))
    return [int(word) for word in words.hash_folded[words.core_start < words.core_end]]


def _grams(words: list[int]) -> set[tuple[int, ...]]:
    return {tuple(words[at : at + _GRAM]) for at in range(len(words) - _GRAM + 1)}
