"""Signals of source code: RedPajama's four for GitHub, StarCoder's XML and Dolma's copyright notices."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from gristmill.filters.block import Batch, Measured, Measurement

CODE_SIGNALS = (
    *("chars", "lines", "line_chars", "longest_line_chars", "alphanumeric_chars", "letter_chars", "tokens"),
    *("xml_declarations", "copyright_chars"),
)
# dolma/taggers/code/utils.py; it counts what lies between, one more than there are.
_TOKEN = re.compile(r"\w+|[^\w\s]+")
_BLOCK_COMMENT = re.compile(r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/")  # dolma's code_copyright_comments_v1
_COPYRIGHT = re.compile("copyright", re.IGNORECASE)
_XML = "<?xml version="
_HEAD = 100  # characters of a file among which StarCoder looks for it
_LINE_COMMENTS = ("//", "#", "--")


@lru_cache(maxsize=1)
def as_regex_reads() -> dict[int, str]:
    """Characters that the package `regex`, by which Dolma splits, takes for another kind than Python's `re`.

    To it marks, joiners and circled letters are of words, numbers such as ² and ½ and four separators are
    not (Unicode's technical standard 18, annex C: word is Alphabetic, M, Nd, Pc and Join_Control).
    """
    letters = [0x200C, 0x200D]
    for low, high in ((0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189)):
        letters += range(low, high + 1)
    others = [*range(0x1C, 0x20)]
    for point in (*range(0x80, 0x32000), *range(0xE0100, 0xE01F0)):
        kind = unicodedata.category(chr(point))
        if kind[0] == "M" or kind == "Pc":
            letters.append(point)
        elif kind == "No":
            others.append(point)
    return {**dict.fromkeys(letters, "x"), **dict.fromkeys(others, "!")}


def num_tokens(text: str) -> int:
    """Runs of word characters and of others, and one."""
    if not text.isascii() or any(mark in text for mark in "\x1c\x1d\x1e\x1f"):
        text = text.translate(as_regex_reads())
    return sum(1 for _ in _TOKEN.finditer(text)) + 1


def copyright_chars(text: str) -> int:
    """Characters of a copyright notice: the first block comment if it names one, else the comment lines that
    the file begins with."""
    if "/*" in text and (found := _BLOCK_COMMENT.search(text)):
        return found.end() - found.start() if _COPYRIGHT.search(found[0]) else 0
    end = 0
    for line in text.split("\n"):
        if line and not line.startswith(_LINE_COMMENTS):
            break
        end += len(line) or 1
    return min(end, len(text))


def code_reference(text: str) -> dict[str, int]:
    """Every signal, as dolma's taggers count them."""
    lengths = [len(line) for line in text.splitlines()]
    return {
        "chars": len(text),
        "lines": len(lengths),
        "line_chars": sum(lengths),
        "longest_line_chars": max(lengths, default=0),
        "alphanumeric_chars": sum(map(str.isalnum, text)),
        "letter_chars": sum(map(str.isalpha, text)),
        "tokens": num_tokens(text),
        "xml_declarations": text[:_HEAD].count(_XML),
        "copyright_chars": copyright_chars(text),
    }


def measure_code(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    rows = [tuple(code_reference(text).values()) for text in batch.strings]
    values = np.array(rows, np.int64).reshape(-1, len(CODE_SIGNALS))
    return Measured({name: values[:, column] for column, name in enumerate(CODE_SIGNALS)})


CODE = Measurement(measure_code, CODE_SIGNALS)
