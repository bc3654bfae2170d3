"""MADLAD-400's questionable sentences (Kudugunta et al. 2023, section 2.3), as datamap-rs counts them.

Its five kinds: (1) another language than the document's, (2) list case: of 12 words and more, over half begin
with a capital, (3) under 20 or over 500 bytes, (4) over a fifth technical characters, (5) a cursed string.
Kinds 2 to 5 are here; 1 asks a language model for each sentence. Which of them make a sentence questionable
are the preset's parameters: `list_case`, `abnormal_length`, `technical`, and `cursed`, a list by path.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import InputError
from gristmill.files.disk import read_file
from gristmill.filters.block import Batch, Measured, Measurement

_KINDS = ("list_case", "abnormal_length", "technical", "cursed")
MADLAD_SIGNALS = ("sentences", "questionable_sentences", *(f"{kind}_sentences" for kind in _KINDS))

_END = re.compile(r"[.!?]+\s+")
_WORD = re.compile(r"\w+(?:[.'’:·]\w+)*")  # near to Unicode's word bounds, which datamap-rs takes
_MIN_CASE_WORDS, _MAX_CASE_SHARE = 12, 0.5  # case_tok_lower_bound, case_upper_bound
_MIN_BYTES, _MAX_BYTES = 20, 500  # char_len_lower_bound, char_len_upper_bound
_TECHNICAL, _MAX_TECHNICAL_SHARE = frozenset("0123456789{}+/()>"), 0.2
_PATTERNS = re.compile(r"\[\^|\\s|\\\||\$$|\\\.$")  # an entry of the list that is a regular expression


def sentences_of(text: str) -> list[str]:
    """Cut a text behind end marks; what is blank is no sentence."""
    return [sentence for sentence in _END.split(text) if sentence.strip()]


def is_list_case(sentence: str) -> bool:
    """Whether a sentence of 12 words and more has over half in capitals: a list of titles or names."""
    words = _WORD.findall(sentence)
    capitals = sum(word[0].isupper() for word in words)
    return len(words) >= _MIN_CASE_WORDS and capitals > len(words) * _MAX_CASE_SHARE


def is_abnormally_long(sentence: str) -> bool:
    return not _MIN_BYTES <= len(sentence.encode()) <= _MAX_BYTES


def is_technical(sentence: str) -> bool:
    technical = sum(char in _TECHNICAL for char in sentence)
    return technical > len(sentence.encode()) * _MAX_TECHNICAL_SHARE


@lru_cache(maxsize=4)
def cursed_strings(path: str) -> Callable[[str], bool]:
    """Read datamap-rs's list, plain or gzipped: an entry a line, blanks at its ends included, of which those
    with regular syntax are patterns."""
    try:
        data = read_file(Path(path))
        lines = (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"cannot read the list of cursed strings `{path}`: {error}") from error
    entries = [line for line in lines if line.strip()]
    spelled = [entry if _PATTERNS.search(entry) else re.escape(entry) for entry in entries]
    try:
        found = re.compile("|".join(f"(?:{entry})" for entry in spelled))
    except re.error as error:
        raise InputError(f"`{path}` holds a pattern that is none: {error}") from error
    return lambda sentence: bool(entries) and found.search(sentence) is not None


def madlad_reference(text: str, parameters: Mapping[str, Any]) -> dict[str, int]:
    """Count a text's sentences of each kind, and those that any kind asked for makes questionable."""
    curse = cursed_strings(parameters["cursed"]) if parameters["cursed"] else lambda _: False
    kinds = (is_list_case, is_abnormally_long, is_technical, curse)
    asked = [bool(parameters[kind]) for kind in _KINDS]
    sentences = sentences_of(text)
    found = [[kind(sentence) for kind in kinds] for sentence in sentences]
    counts = {"sentences": len(sentences)}
    counts["questionable_sentences"] = sum(
        any(is_so and wanted for is_so, wanted in zip(row, asked, strict=True)) for row in found
    )
    sums = (sum(row[number] for row in found) for number in range(len(_KINDS)))
    return counts | {f"{kind}_sentences": total for kind, total in zip(_KINDS, sums, strict=True)}


def measure_madlad(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    rows = [tuple(madlad_reference(text, parameters).values()) for text in batch.strings]
    values = np.array(rows, np.int64).reshape(-1, len(MADLAD_SIGNALS))
    return Measured({name: values[:, column] for column, name in enumerate(MADLAD_SIGNALS)})


MADLAD = Measurement(measure_madlad, MADLAD_SIGNALS)
