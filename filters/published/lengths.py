"""Lengths of documents, and SlimPajama's first step: canonical composition, and no text under 200
characters."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np

from gristmill.filters.block import Batch, Measured, Measurement
from gristmill.filters.edits import Edits, difference
from gristmill.filters.published.linepass import line_signals
from gristmill.text.normal import normal_form

_NOT_LETTERS = str.maketrans("", "", string.punctuation + string.whitespace)


def measure_length(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    """Characters of the whole text; words between white space and lines of its first 4 MiB."""
    lines = line_signals(batch)
    return Measured({"chars": batch.characters, "words": batch.num_words, "lines": lines["lines"]})


def letters(text: str) -> int:
    """Characters but for ASCII's punctuation and white space (SlimPajama, read_short_documents)."""
    return len(normal_form(text, "NFC").translate(_NOT_LETTERS))


def measure_nfc(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    """Count letters of the text in NFC, and propose the edit that brings it there."""
    edits = []
    counts = np.zeros(len(batch), np.int64)
    for row, text in enumerate(batch.strings):
        composed = text if unicodedata.is_normalized("NFC", text) else normal_form(text, "NFC")
        counts[row] = len(composed.translate(_NOT_LETTERS))
        if composed != text:
            edits.append(difference(row, text.encode(), composed.encode()))
    return Measured({"letters": counts}, Edits.of(edits))


LENGTH = Measurement(measure_length, ("chars", "words", "lines"))
NFC = Measurement(measure_nfc, ("letters",), ("nfc",))
