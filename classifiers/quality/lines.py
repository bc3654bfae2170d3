"""From a document to what fastText reads: one line of prepared text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gristmill.classifiers.settings import ClassifierSettings, Preparation, Window
from gristmill.fasttext_model import one_line

# fastText ends a word at ASCII white space and NUL; `\s` covers every other kind of white space.
_SPACES = re.compile(r"[\s\0]+")
# Scripts that put no blanks between words: each code point becomes a word, else a whole sentence is one
# unknown word.
_UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)


def prepare(text: str, how: Preparation) -> str:
    """Return the text on one line, as the named preparation has it, without fastText's control tokens."""
    if how == "lines":
        return one_line(" ".join(text.strip().splitlines()).replace("\0", " "))
    if how == "folded":
        text = _UNSPACED.sub(r" \1 ", text.lower())
    return one_line(_SPACES.sub(" ", text).strip())


def window(text: str, which: Window, chars: int) -> str:
    """Cut out the characters of a text that are scored."""
    if which == "whole" or len(text) <= chars:
        return text
    if which == "pile":
        return text[:4000][-1500:]
    start = {"head": 0, "middle": (len(text) - chars) // 2, "tail": len(text) - chars}[which]
    return text[start : start + chars]


def lines(texts: Iterable[str | None], settings: ClassifierSettings) -> list[str]:
    """Return each text's line as it is scored; no text gives an empty one."""
    return [
        prepare(window(text or "", settings.window, settings.window_chars), settings.prepare)
        for text in texts
    ]


def cut(text: str, size: int, settings: ClassifierSettings) -> list[str]:
    """Cut a text into passages, so that a book is many examples; those that are blank are left out."""
    pieces = [prepare(text[start : start + size], settings.prepare) for start in starts(text, size)]
    return [piece for piece in pieces if piece]


def starts(text: str, size: int) -> range:
    """Where a text is cut: a rest of half a passage or less belongs to none."""
    return range(0, max(len(text) - size // 2, 1), size)
