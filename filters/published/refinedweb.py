"""RefinedWeb's line-wise corrections: lines that are counters, buttons or shouting go; pages made of them go
whole.

The paper names the kinds of lines and the 5 % of words above which the page goes; the patterns are its
examples and those of DCLM's reproduction (`dclm_baseline_refinedweb.yaml`), which also fixes the two
fractions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gristmill.filters.block import Batch, Measured, Measurement
from gristmill.filters.edits import Edits

LINE_EDITS = ("upper_case", "digits", "counter", "one_word", "button", "javascript")
_UPPER, _DIGITS, _COUNTER, _ONE_WORD, _BUTTON, _JAVASCRIPT = range(6)

_COUNTER_LINE = re.compile(
    r"^\W*\d(?:,|\.|\d)*[KMB]?\s+(?:likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers)\W*$",
    re.IGNORECASE,
)
# TxT360: C4 drops every line that names JavaScript; of those only notices to switch it on are meant.
_SCRIPT_WORDS = ("enable", "disable", "require", "activate", "browser")
_BUTTONS = (
    re.compile(r"^\W*(?:sign[ -]?in|log[ -]?in|sign[ -]?up)\b", re.IGNORECASE),
    re.compile(r"(?:read more|see more|continue reading)\W*$", re.IGNORECASE),
    re.compile(r"\bitems? in (?:your )?cart\b", re.IGNORECASE),
)


def line_fault(line: str, parameters: Mapping[str, Any]) -> int | None:
    """Return which kind of boilerplate a line is, if any; the index counts in LINE_EDITS."""
    words = line.split()
    if not words:
        return None
    letters = sum(map(len, words))
    if sum(char.isupper() for char in line) > parameters["max_upper_fraction"] * letters:
        return _UPPER
    if sum(char.isdigit() for char in line) > parameters["max_digit_fraction"] * letters:
        return _DIGITS
    if _COUNTER_LINE.match(line):
        return _COUNTER
    if len(words) < 2:
        return _ONE_WORD
    if parameters["javascript"] and "javascript" in (lower := line.lower()):
        return _JAVASCRIPT if any(word in lower for word in _SCRIPT_WORDS) else None
    if len(words) <= parameters["pattern_words"] and any(pattern.search(line) for pattern in _BUTTONS):
        return _BUTTON
    return None


def faulty_lines(text: str, parameters: Mapping[str, Any]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first character, end behind the newline, fault, words) of each line to go."""
    position = 0
    for line in text.split("\n"):
        end = min(position + len(line) + 1, len(text))
        fault = line_fault(line, parameters)
        if fault is not None:
            yield position, end, fault, len(line.split())
        position = end


def measure_lines(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    edits: list[tuple[int, int, int, int, bytes]] = []
    total, removed = np.zeros(len(batch), np.int64), np.zeros(len(batch), np.int64)
    for row, text in enumerate(batch.strings):
        total[row] = len(text.split())
        at = position = 0  # bytes and characters walked so far
        for start, end, fault, num_words in faulty_lines(text, parameters):
            at += len(text[position:start].encode())
            size = len(text[start:end].encode())
            edits.append((row, at, at + size, fault, b""))
            at, position = at + size, end
            removed[row] += num_words
    return Measured({"line_words": total, "removed_line_words": removed}, Edits.of(edits))


LINES = Measurement(measure_lines, ("line_words", "removed_line_words"), LINE_EDITS)
