"""Texts as pieces: the units that line, paragraph and span deduplication compare and cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import types

from gristmill.dedup.settings.parts import ParagraphSettings, PieceSettings, SpanSettings
from gristmill.text.kernel import BYTES, OFFSETS, kernel
from gristmill.text.normal import normal_form, without_accents, words_only
from gristmill.text.words import Int64s, Scratch, scan, text_spans

_PLACES = types.Array(types.int64, 1, "C")
_SCANNED_BYTES = 1 << 20

_DIGIT = re.compile(r"\d")
# cc_net text_normalizer.py: the keys of UNICODE_PUNCT, and control characters; none of ASCII's marks.
_CCNET_PUNCTUATION = re.compile("[，。、„”“«»１」「《》´∶：？！（）；–—．～’…━〈〉【】％►\x00-\x1f\x7f-\x9f]")


class Bounds(NamedTuple):
    """Where the pieces of n texts lie, in bytes of their text: start, end, and where the next one starts;
    of n + 1 texts the number of its first piece."""

    starts: Int64s
    ends: Int64s
    next_starts: Int64s
    rows: Int64s


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
        found = sentence_bounds(text)
        bounds = list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))
        for value, (low, high) in zip(values, pairwise(found.rows.tolist()), strict=True):
            yield _spans((value or "").encode(), bounds[low:high], settings.sentences)
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


def bounds_of(settings: PieceSettings, texts: pa.Array | pa.ChunkedArray) -> Bounds:
    """Say where the pieces of every text lie, without their keys."""
    return sentence_bounds(texts) if isinstance(settings, SpanSettings) else _line_bounds(texts)


def _line_bounds(texts: pa.Array | pa.ChunkedArray) -> Bounds:
    starts, stops, data = text_spans(texts)
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    rows = np.empty(len(starts) + 1, np.int64)
    found = np.empty((3, int(np.count_nonzero(data == 10)) + len(starts)), np.int64)
    num_lines = _find_lines(data, starts, stops, rows, *found)
    begins, ends, nexts = found[:, :num_lines]
    return Bounds(begins, ends, nexts, rows)


@kernel(types.int64(BYTES, OFFSETS, OFFSETS, *(_PLACES,) * 4))
def _find_lines(data, starts, stops, rows, begins, ends, nexts):  # type: ignore[no-untyped-def]
    found = 0
    for text in range(len(starts)):
        rows[text] = found
        base, stop = starts[text], stops[text]
        at = begun = base
        while at < stop:
            if data[at] == 10:
                begins[found], ends[found], nexts[found] = begun - base, at - base, at + 1 - base
                found += 1
                begun = at + 1
            at += 1
        begins[found], ends[found], nexts[found] = begun - base, stop - base, stop - base
        found += 1
    rows[len(starts)] = found
    return found


def sentence_bounds(texts: pa.Array | pa.ChunkedArray) -> Bounds:
    """Say where every sentence of every text lies, from its first word to its last."""
    starts, stops, data = text_spans(texts)
    scratch = Scratch()
    parts: list[tuple[Int64s, Int64s, Int64s]] = []
    counts = np.zeros(len(starts) + 1, np.int64)
    for low, high in _runs_of(stops - starts):
        words = scan(starts[low:high], stops[low:high], data, scratch, fold=False)
        of = np.repeat(np.arange(low, high), np.diff(words.rows))
        new = np.ones(len(of), bool)
        new[1:] = (of[1:] != of[:-1]) | (words.sentence[1:] != words.sentence[:-1])
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(of))[: len(first)] - 1
        text = of[first]
        counts[1:] += np.bincount(text, minlength=len(starts))
        parts.append((text, words.start[first] - starts[text], words.end[last] - starts[text]))
    none = np.empty(0, np.int64)
    text, begins, ends = (np.concatenate([none, *(part[at] for part in parts)]) for at in range(3))
    nexts = ends.copy()
    follows = text[1:] == text[:-1]
    nexts[:-1][follows] = begins[1:][follows]
    return Bounds(begins, ends, nexts, np.cumsum(counts))


def _runs_of(sizes: Int64s) -> Iterator[tuple[int, int]]:
    """Cut texts into runs of about a megabyte, so that the memory of words is bounded."""
    bins = (np.cumsum(sizes) - sizes) // _SCANNED_BYTES
    edges = [0, *(np.flatnonzero(np.diff(bins)) + 1).tolist(), len(sizes)]
    return pairwise(edges) if len(sizes) else iter(())
