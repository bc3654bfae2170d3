"""Signals of source code: RedPajama's four for GitHub, StarCoder's XML and Dolma's copyright notices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gristmill.filters.block import Batch, Measured, Measurement

CODE_SIGNALS = (
    *("chars", "lines", "line_chars", "longest_line_chars", "alphanumeric_chars", "letter_chars", "tokens"),
    *("xml_declarations", "copyright_chars"),
)
_TOKEN = re.compile(
    r"\w+|[^\w\s]+"
)  # dolma/taggers/code/utils.py; it counts what lies between, one more than there are
_BLOCK_COMMENT = re.compile(r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/")  # dolma's code_copyright_comments_v1
_COPYRIGHT = re.compile("copyright", re.IGNORECASE)
_XML = "<?xml version="
_HEAD = 100  # characters of a file among which StarCoder looks for it
_LINE_COMMENTS = ("//", "#", "--")


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
        "tokens": len(_TOKEN.split(text)),
        "xml_declarations": text[:_HEAD].count(_XML),
        "copyright_chars": copyright_chars(text),
    }


def measure_code(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    rows = [tuple(code_reference(text).values()) for text in batch.strings]
    values = np.array(rows, np.int64).reshape(-1, len(CODE_SIGNALS))
    return Measured({name: values[:, column] for column, name in enumerate(CODE_SIGNALS)})


CODE = Measurement(measure_code, CODE_SIGNALS)
