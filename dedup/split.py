"""Texts as pieces: the units that line, paragraph and span deduplication compare and cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from gristmill.dedup.settings import ParagraphSettings, PieceSettings, SpanSettings
from gristmill.text.normal import normal_form, without_accents, words_only
from gristmill.text.words import text_spans, words_of

_DIGIT = re.compile(r"\d")
# cc_net text_normalizer.py: the keys of UNICODE_PUNCT, and control characters; none of ASCII's marks.
_CCNET_PUNCTUATION = re.compile("[，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％►\x00-\x1f\x7f-\x9f]")


class Piece(NamedTuple):
    """Bytes start:end of a text, followed by a separator up to next_start; an empty key is never compared."""

    start: int
    end: int
    next_start: int
    key: str


def pieces_of(settings: PieceSettings, text: pa.ChunkedArray) -> Iterator[list[Piece]]:
    """Cut every text of a column into pieces; null has none.

    For spans the pieces are sentences, and the key is that of the span that begins there.
    """
    if isinstance(settings, SpanSettings):
        values = text.to_pylist()
        for value, bounds in zip(values, sentence_bounds(text), strict=True):
            yield _spans((value or "").encode(), bounds, settings.sentences)
    else:
        key = _key_of(settings)
        for value in text.to_pylist():
            yield _lines(value or "", key)


def _lines(text: str, key: Callable[[str], str]) -> list[Piece]:
    pieces = []
    start = 0
    for line in text.split("\n"):
        end = start + len(line.encode())
        pieces.append(Piece(start, end, end + 1, key(line)))
        start = end + 1
    last = pieces[-1]
    pieces[-1] = last._replace(next_start=last.end)
    return pieces


def _line_key(line: str) -> str:
    # tensorflow_datasets text/c4_utils.py, get_hashed_url_filter_fn and remove_duplicate_text:
    # line.strip().lower()
    return line.strip().lower()


def _key_of(settings: PieceSettings) -> Callable[[str], str]:
    if isinstance(settings, ParagraphSettings):
        return ccnet_key if settings.normalise == "ccnet-code" else _paragraph_key
    return _line_key


def ccnet_key(line: str) -> str:
    """The key by which cc_net compares paragraphs (text_normalizer.py, normalize_for_dedup)."""
    return _CCNET_PUNCTUATION.sub("", _DIGIT.sub("0", line.strip().lower()))


def _paragraph_key(line: str) -> str:
    # cc_net text_normalizer.normalize: strip, lower, digits to 0, no punctuation; the paper: no accents.
    plain = without_accents(normal_form(line.strip().lower(), "NFD"))
    return " ".join(words_only(_DIGIT.sub("0", plain), "").split())


def _spans(text: bytes, bounds: list[tuple[int, int]], width: int) -> list[Piece]:
    starts = [start for start, _end in bounds]
    pieces = []
    for number, (start, end) in enumerate(bounds):
        whole = number + width <= len(bounds)
        span = text[start : bounds[number + width - 1][1]].decode("utf-8", "replace") if whole else ""
        next_start = starts[number + 1] if number + 1 < len(bounds) else end
        pieces.append(Piece(start, end, next_start, " ".join(span.lower().split())))
    return pieces


def sentence_bounds(text: pa.ChunkedArray) -> list[list[tuple[int, int]]]:
    """Return the byte range of every sentence of every text, from its first word to its last."""
    words = words_of(text)
    doc = np.repeat(np.arange(len(text)), np.diff(words.rows))
    base = text_spans(text)[0][doc]
    new = np.ones(len(doc), bool)
    new[1:] = (doc[1:] != doc[:-1]) | (words.sentence[1:] != words.sentence[:-1])
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(doc))[: len(first)] - 1
    bounds: list[list[tuple[int, int]]] = [[] for _ in range(len(text))]
    start, end = (words.start - base)[first].tolist(), (words.end - base)[last].tolist()
    for number, span in zip(doc[first].tolist(), zip(start, end, strict=True), strict=True):
        bounds[number].append(span)
    return bounds
