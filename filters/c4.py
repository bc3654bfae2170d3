"""C4's page cleaning as one kernel: which lines stay, why others go, and the edits that make the cleaned text.

`filters/reference.py` has the same in the order and wording of the source. Edits say what is deleted and why: whole lines by
the rule that dropped them, citations, and white space that the source strips or normalises to a newline.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit, types

from gristmill.filters.block import MEASURED_BYTES, Batch, Measured
from gristmill.filters.constants import LOREM_IPSUM, POLICY_PHRASES
from gristmill.filters.edits import Edits, apply_edits
from gristmill.filters.punkt import load_punkt
from gristmill.text.kernel import BYTES, OFFSETS
from gristmill.text.points import ASCII_CLASS, ASCII_LOWER, back, read, strip
from gristmill.text.tables import BREAK, CLOSE, CORE, DIGIT, END, SPACE, UNIT, WIDE_END

C4_EDITS = ("long_word", "no_end_mark", "few_words", "javascript", "policy", "citation", "white_space")
_LONG_WORD, _NO_END_MARK, _FEW_WORDS, _JAVASCRIPT, _POLICY, _CITATION, _WHITE_SPACE = range(7)
_COUNTED = ("lorem_ipsum", "curly_brackets", "sentences", "kept_lines", *(f"dropped_{name}" for name in C4_EDITS[:5]))
C4_SIGNALS = ("chars", *_COUNTED)

_PHRASES = (LOREM_IPSUM, "javascript", *POLICY_PHRASES)
_NEEDLES = np.frombuffer("".join(_PHRASES).encode(), np.uint8)
_NEEDLE_BOUNDS = np.cumsum([0, *map(len, _PHRASES)])
_NEEDLE_FLAGS = np.array([1, 2] + [8] * len(POLICY_PHRASES))
_SECOND = np.zeros(256, np.uint8)  # of bytes a phrase can begin with: what must follow, in lower case; no two phrases differ
for _phrase in _PHRASES:
    _SECOND[[ord(_phrase[0]), ord(_phrase[0].upper())]] = ord(_phrase[1])
_SECOND[ord("{")] = 1
_BRACKETED = (np.frombuffer(b"[edit]", np.uint8), np.frombuffer(b"[citation needed]", np.uint8))
_EDIT, _NEEDED = _BRACKETED
_OPEN, _CLOSE_BRACKET, _NEWLINE, _RETURN = 0x5B, 0x5D, 0x0A, 0x0D

# How many edits a byte can cause at most: a line end opens a line, a bracket a citation and white space around it.
_COST = np.zeros(256, np.uint8)
_COST[[10, 11, 12, 13, 28, 29, 30, 0x85, 0xA8, 0xA9]] = 5
_COST[_OPEN] = 4

_I64, _U8 = types.Array(types.int64, 1, "C"), types.Array(types.uint8, 1, "C")
_OUT = types.Array(types.int64, 2, "C")


@njit([types.int64(OFFSETS, OFFSETS, BYTES)], cache=True, nogil=True)
def _most_edits(starts, stops, data):  # type: ignore[no-untyped-def]
    total = 0
    for doc in range(len(starts)):
        total += 8
        for i in range(starts[doc], stops[doc]):
            total += _COST[data[i]]
    return total


@njit(cache=True)
def _line(data, i, stop):  # type: ignore[no-untyped-def]
    """Return (end of the line's content, start of the next line, whether it has a square bracket)."""
    bracket = False
    while i < stop:
        byte = data[i]
        if 0x20 <= byte < 0x80:
            bracket |= byte == _OPEN
            i += 1
            continue
        point, width, bits = read(data, i, stop)
        if bits & BREAK:
            if point == _RETURN and i + 1 < stop and data[i + 1] == _NEWLINE:
                width = 2
            return i, i + width, bracket
        i += width
    return stop, stop, bracket


@njit(cache=True)
def _longest_run(data, i, stop):  # type: ignore[no-untyped-def]
    longest = run = 0
    while i < stop:
        _, width, bits = read(data, i, stop)
        run = 0 if bits & SPACE else run + 1
        longest = max(longest, run)
        i += width
    return longest


@njit(cache=True)
def _same(data, i, stop, wanted):  # type: ignore[no-untyped-def]
    if i + len(wanted) > stop:
        return False
    for j in range(len(wanted)):  # noqa: SIM110  numba has no generators
        if data[i + j] != wanted[j]:
            return False
    return True


@njit(cache=True)
def _citation(data, i, stop):  # type: ignore[no-untyped-def]
    r"""Return where a match of \[\d*\]|\[edit\]|\[citation needed\] at i ends, or i."""
    j = i + 1
    while j < stop:
        if data[j] == _CLOSE_BRACKET:
            return j + 1
        _, width, bits = read(data, j, stop)
        if not bits & DIGIT:
            break
        j += width
    if _same(data, i, stop, _EDIT):
        return i + len(_EDIT)
    if _same(data, i, stop, _NEEDED):
        return i + len(_NEEDED)
    return i


@njit(cache=True)
def _phrase_at(data, i, stop, first, last):  # type: ignore[no-untyped-def]
    """Compare with a phrase in lower case; U+212A, the only character outside ASCII whose lower case is inside, is a k."""
    for j in range(first, last):
        if i >= stop:
            return False
        byte = data[i]
        if byte < 0x80:
            if ASCII_LOWER[byte] != _NEEDLES[j]:
                return False
            i += 1
        elif _NEEDLES[j] == 0x6B and i + 2 < stop and byte == 0xE2 and data[i + 1] == 0x84 and data[i + 2] == 0xAA:
            i += 3
        else:
            return False
    return True


@njit(cache=True)
def _phrases(data, start, stop):  # type: ignore[no-untyped-def]
    """Return which phrases occur: 1 lorem ipsum, 2 javascript, 4 a curly bracket, 8 a policy phrase."""
    found = 0
    for i in range(start, stop):
        second = _SECOND[data[i]]
        if second == 0:
            continue
        if second == 1:
            found |= 4
            continue
        if i + 1 >= stop or data[i + 1] | 0x20 != second:  # a K for a k comes later in every phrase
            continue
        for needle in range(len(_NEEDLE_FLAGS)):
            if _phrase_at(data, i, stop, _NEEDLE_BOUNDS[needle], _NEEDLE_BOUNDS[needle + 1]):
                found |= _NEEDLE_FLAGS[needle]
    return found


@njit(cache=True)
def _runs_and_sentences(data, i, stop):  # type: ignore[no-untyped-def]
    """Count runs between white space, and sentences as the word pass numbers them, of one line."""
    runs = sentences = mark = 0
    inside = unit = unfinished = False  # of a run; the last character is a word by itself; words since the last sentence end
    while True:
        if i < stop and data[i] < 0x80:
            width, bits = 1, np.int64(ASCII_CLASS[data[i]])
            if bits & CORE and not unit:
                runs += not inside
                inside = unfinished = True
                mark = 0
                i += 1
                while i < stop and data[i] < 0x80 and ASCII_CLASS[data[i]] & CORE:
                    i += 1
                continue
            if bits & SPACE:
                if mark:
                    sentences += 1
                    unfinished = False
                    mark = 0
                inside = unit = False
                i += 1
                continue
        elif i < stop:
            _, width, bits = read(data, i, stop)
        else:
            width, bits = 0, np.int64(SPACE)
        space = bits & SPACE != 0
        if inside and (space or unit or bits & UNIT):  # a word ends here
            if mark == 2 or (mark == 1 and space):
                sentences += 1
                unfinished = False
            mark = 0
        if space:
            inside = unit = False
            if i >= stop:
                break
        else:
            if not inside:
                runs += 1
                inside = True
            unfinished = True
            unit = bits & UNIT != 0
            if bits & END:
                mark = 2 if bits & WIDE_END else 1
            elif not bits & CLOSE:
                mark = 0
        i += width
    return runs, sentences + unfinished


@njit(cache=True)
def _ends_well(data, start, stop):  # type: ignore[no-untyped-def]
    if stop == start:
        return False
    last = data[stop - 1]
    if last != 0x2E and last != 0x3F and last != 0x21 and last != 0x22:
        return False
    return not (stop - start >= 3 and last == 0x2E and data[stop - 2] == 0x2E and data[stop - 3] == 0x2E)


@njit(cache=True)
def _put(edits, n, doc, start, stop, rule, text):  # type: ignore[no-untyped-def]
    edits[n, 0], edits[n, 1], edits[n, 2], edits[n, 3], edits[n, 4] = doc, start, stop, rule, text
    return n + 1


@njit(cache=True)
def _clean_line(data, a, b, scratch, edits, n, doc, base):  # type: ignore[no-untyped-def]
    """Copy a line without its citations to scratch and note them as edits; return (length, edits)."""
    size = 0
    i = a
    while i < b:
        if data[i] == _OPEN:
            after = _citation(data, i, b)
            if after > i:
                n = _put(edits, n, doc, i - base, after - base, _CITATION, 0)
                i = after
                continue
        scratch[size] = data[i]
        size += 1
        i += 1
    return size, n


@njit(cache=True)
def _judge(text, a, b, min_words, end_mark, row):  # type: ignore[no-untyped-def]
    """Return why a line is dropped, or -1; counts what it says about the page."""
    if end_mark and not _ends_well(text, a, b):
        return _NO_END_MARK
    runs, sentences = _runs_and_sentences(text, a, b)
    if runs < min_words:
        return _FEW_WORDS
    found = _phrases(text, a, b)
    row[0] += found & 1
    if found & 2:
        return _JAVASCRIPT
    row[1] += found >> 2 & 1
    if found & 8:
        return _POLICY
    row[2] += sentences
    row[3] += 1
    return -1


@njit(cache=True)
def _trim_front(data, a, b, edits, first, n, doc, base):  # type: ignore[no-untyped-def]
    """Delete the white space that leads the page once citations are gone; return (first kept byte, edits)."""
    last = n
    position = a
    while position < b:
        if first < last and edits[first, 1] + base == position:
            position = edits[first, 2] + base
            first += 1
            continue
        _, width, bits = read(data, position, b)
        if not bits & SPACE:
            break
        n = _put(edits, n, doc, position - base, position + width - base, _WHITE_SPACE, 0)
        position += width
    return position, n


@njit(cache=True)
def _trim_back(data, a, b, edits, first, last, n, doc, base):  # type: ignore[no-untyped-def]
    """Delete the white space that ends the page once citations are gone."""
    position = b
    while position > a:
        if last > first and edits[last - 1, 2] + base == position and edits[last - 1, 3] == _CITATION:
            last -= 1
            position = edits[last, 1] + base
            continue
        before = back(data, position, a)
        _, _, bits = read(data, before, position)
        if not bits & SPACE:
            break
        n = _put(edits, n, doc, before - base, position - base, _WHITE_SPACE, 0)
        position = before
    return n


@njit(
    [types.int64(OFFSETS, OFFSETS, BYTES, types.int64, types.int64, types.boolean, _U8, BYTES, _OUT, _OUT)],
    cache=True,
    nogil=True,
)
def _clean(starts, stops, data, min_words, max_word_chars, end_mark, scratch, cleaned, out, edits):  # type: ignore[no-untyped-def]
    """Clean pages; `cleaned` reads what is written to `scratch`, so that `_judge` is compiled for one type of array."""
    n = 0
    for doc in range(len(starts)):
        base, stop = starts[doc], stops[doc]
        row = out[doc]
        i = base
        ending = follower = -1  # of the last kept line: where its terminator begins and ends
        kept_a = kept_b = kept_first = kept_last = 0  # its content, and its citations among the edits
        while i < stop:
            start = i
            end, i, bracket = _line(data, start, stop)
            a, b = strip(data, start, end)
            before = n
            if b - a > max_word_chars and _longest_run(data, a, b) > max_word_chars:
                reason = _LONG_WORD
            elif bracket:
                size, n = _clean_line(data, a, b, scratch, edits, n, doc, base)
                reason = _judge(cleaned, np.int64(0), size, min_words, end_mark, row)
            else:
                reason = _judge(data, a, b, min_words, end_mark, row)
            if reason >= 0:
                row[4 + reason] += 1
                n = _put(edits, before, doc, start - base, i - base, reason, 0)
                continue
            kept_first, kept_last, kept_a, kept_b = before, n, a, b
            if ending < 0:
                kept_a, n = _trim_front(data, a, b, edits, before, n, doc, base)
            elif follower - ending != 1 or data[ending] != _NEWLINE:
                n = _put(edits, n, doc, ending - base, follower - base, _WHITE_SPACE, 1)
            if a > start:
                n = _put(edits, n, doc, start - base, a - base, _WHITE_SPACE, 0)
            if end > b:
                n = _put(edits, n, doc, b - base, end - base, _WHITE_SPACE, 0)
            ending, follower = end, i
        if ending >= 0:
            n = _trim_back(data, kept_a, kept_b, edits, kept_first, kept_last, n, doc, base)
            if follower > ending:
                n = _put(edits, n, doc, ending - base, follower - base, _WHITE_SPACE, 0)
    return n


def measure_c4(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    """Clean pages; one so long that `page_chars` removes it anyway is measured at its start and not edited."""
    starts, stops = np.ascontiguousarray(batch.starts), np.ascontiguousarray(batch.stops)
    too_long = (stops - starts > MEASURED_BYTES) & bool(parameters["page_chars_bound"])
    stops = np.where(too_long, batch.measured_stops, stops)
    out = np.zeros((len(starts), len(_COUNTED)), np.int64)
    rows = batch.scratch.empty("edits", _most_edits(starts, stops, batch.data) * 5, np.int64).reshape(-1, 5)
    scratch = batch.scratch.empty("cleaned_line", int((stops - starts).max(initial=0)), np.uint8)
    limits = (int(parameters["min_words_per_line"]), int(parameters["max_word_chars"]), bool(parameters["end_mark"]))
    cleaned = scratch.view()
    cleaned.flags.writeable = False
    count = _clean(starts, stops, batch.data, *limits, scratch, cleaned, out, rows)
    edits = _sorted(rows[:count], too_long)
    signals = {name: out[:, index] for index, name in enumerate(_COUNTED)}
    if parameters["sentence_model"]:
        signals["sentences"] = _punkt_sentences(batch, edits, str(parameters["sentence_model"]))
    return Measured({"chars": batch.characters, **signals}, edits)


def _sorted(rows: Any, left_out: Any) -> Edits:
    rows = rows[~left_out[rows[:, 0]]] if left_out.any() else rows
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return Edits.from_rows(rows, (b"", b"\n"))


def _punkt_sentences(batch: Batch, edits: Edits, model: str) -> Any:
    """Count sentences of each kept line with an NLTK model, as the source does."""
    punkt = load_punkt(model)
    offsets, data = apply_edits(batch.starts, batch.stops, batch.data, edits)
    texts = [data[start:stop].tobytes().decode() for start, stop in pairwise(offsets)]
    return np.array([sum(len(punkt.tokenize(line)) for line in text.split("\n")) if text else 0 for text in texts], np.int64)
