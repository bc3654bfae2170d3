"""Normal forms of texts for comparing them: linear on any marks, and no word made equal to another.

`unicodedata.normalize` sorts the combining marks of a letter by insertion, so that a long run of marks costs
its square. Such runs are sorted here first. Marks are part of a word: in Devanagari, Thai, Burmese, Khmer,
Hebrew, Arabic and Japanese they tell words apart. Only the accents of Latin, Greek and Cyrillic letters may
go, as CCNet's paper has it (its code strips none).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # who compares single texts waits for no import
    import numpy as np
    import numpy.typing as npt

_LONG_RUN = 16  # marks that insertion sort is left with
_LAST_SCRIPT = 0x1F000  # beyond it the marks are variation selectors only
# Marks of no word: grapheme joiner, keycaps and circles around symbols, variation selectors.
_NO_LETTERS = ({0x34F}, range(0x20D0, 0x2100), range(0xFE00, 0xFE10))
# Letters whose accents may go, in canonical decomposition: Latin, Greek, Cyrillic.
_ACCENTED = (
    r"[A-Za-z\u00aa-\u024f\u0370-\u052f\u1c80-\u1c8a\u1d00-\u1dbf\u1e00-\u1fff"
    r"\u2c60-\u2c7f\ua640-\ua69f\ua720-\ua7ff]"
)
_ACCENTS = re.compile(rf"({_ACCENTED})[\u0300-\u036f\u0483-\u0487]+")


def _ranges(inside: Iterable[bool]) -> str:
    """Spell the code points below the last script's end that are `inside` as ranges of a regular expression's
    class."""
    flags = bytes(inside) + b"\0"
    ranges, stop = list[str](), 0
    while (start := flags.find(1, stop)) >= 0:
        stop = flags.find(0, start)
        ranges.append(f"\\U{start:08x}-\\U{stop - 1:08x}")
    return "".join(ranges)


@lru_cache(maxsize=1)
def _not_words() -> re.Pattern[str]:
    kinds = map(unicodedata.category, map(chr, range(_LAST_SCRIPT)))
    marks = [kind[0] == "M" for kind in kinds]
    for part in _NO_LETTERS:
        for point in part:
            marks[point] = False
    return re.compile(rf"[^\w\s{_ranges(marks)}]|_")


@lru_cache(maxsize=1)
def _long_runs() -> re.Pattern[str]:
    return re.compile(rf"[{_ranges(map(bool, _classes()))}]{{{_LONG_RUN},}}")


@lru_cache(maxsize=1)
def _classes() -> bytes:
    """The combining class of every code point below the last script's end; above 0, it sorts behind."""
    return bytes(map(unicodedata.combining, map(chr, range(_LAST_SCRIPT))))


def _sorted_run(found: re.Match[str]) -> str:
    """Decompose a run of marks and bring it into canonical order: by class, stable."""
    marks = "".join(unicodedata.normalize("NFD", mark) for mark in found[0])
    return "".join(sorted(marks, key=unicodedata.combining))


@lru_cache(maxsize=1)
def _marks() -> npt.NDArray[np.bool_]:
    """Which code points below the last script's end sort behind a letter."""
    import numpy as np

    return np.frombuffer(_classes(), np.uint8) > 0


def _has_long_run(text: str) -> bool:
    """Whether a text has a long run of marks: a tenth of what the regular expression takes that finds it."""
    import numpy as np

    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    before = np.cumsum(_marks()[np.minimum(points, _LAST_SCRIPT - 1)])
    if len(before) < _LONG_RUN or before[-1] < _LONG_RUN:
        return False
    return bool(
        before[_LONG_RUN - 1] == _LONG_RUN or (before[_LONG_RUN:] - before[:-_LONG_RUN] == _LONG_RUN).any()
    )


def normal_form(text: str, form: Literal["NFC", "NFD"]) -> str:
    """Return a text in a canonical form of Unicode, in time linear in its length."""
    if text.isascii():
        return text
    return unicodedata.normalize(form, _long_runs().sub(_sorted_run, text) if _has_long_run(text) else text)


def words_only(text: str, instead: str) -> str:
    """Replace all that belongs to no word; letters keep their marks."""
    return _not_words().sub(instead, text)


def without_accents(text: str) -> str:
    """Drop the accents of Latin, Greek and Cyrillic letters from a text in NFD; other scripts keep theirs."""
    return text if text.isascii() else _ACCENTS.sub(r"\1", text)
