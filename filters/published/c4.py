"""C4's page cleaning as one kernel: which lines stay, why others go, and the edits that make the cleaned
text.

`filters/reference.py` has the same in the order and wording of the source. Edits say what is deleted and why:
whole lines by the rule that dropped them, citations, and white space that the source strips or normalises to
a newline.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numba import types

from gristmill.filters.apply import apply_edits
from gristmill.filters.block import MEASURED_BYTES, Batch, Measured, Measurement
from gristmill.filters.edits import Edits
from gristmill.filters.published.c4_lines import LONG_WORD, citation_at, has_long_word, judge, next_line
from gristmill.filters.published.punkt import load_punkt
from gristmill.text.kernel import BYTES, OFFSETS, kernel, part
from gristmill.text.lanes import ROOM, between, first_bits, ones, window
from gristmill.text.points import back, read, strip
from gristmill.text.tables import SPACE

C4_EDITS = ("long_word", "no_end_mark", "few_words", "javascript", "policy", "citation", "white_space")
# As numpy's integers: numba compiles a function anew for each literal that it is called with.
_CITATION, _WHITE_SPACE = np.int64(5), np.int64(6)
_NOTHING, _A_NEWLINE = np.int64(0), np.int64(1)  # what an edit puts in place
_COUNTED = (
    "lorem_ipsum",
    "curly_brackets",
    "sentences",
    "kept_lines",
    *(f"dropped_{name}" for name in C4_EDITS[:5]),
)
C4_SIGNALS = ("chars", *_COUNTED)

_OPEN, _NEWLINE = 0x5B, 0x0A

_U64, _U8 = types.Array(types.uint64, 1, "C"), types.Array(types.uint8, 1, "C")
_OUT = types.Array(types.int64, 2, "C")


@kernel(types.int64(OFFSETS, OFFSETS, BYTES, _U64))
def _most_edits(starts, stops, data, room):  # type: ignore[no-untyped-def]
    """Bound the number of edits: three for each line, and three for each citation with the white space on
    either side of it."""
    total = 0
    for doc in range(len(starts)):
        total += 8
        for i in range(starts[doc], stops[doc], 64):
            place = window(data, i, stops[doc], room)
            inside = first_bits(stops[doc] - i)
            ends = (
                between(place, 10, 13)
                | between(place, 28, 30)
                | between(place, 0x85, 0x85)
                | between(place, 0xA8, 0xA9)
            )
            total += 5 * ones(inside & ends) + 4 * ones(inside & between(place, _OPEN, _OPEN))
    return total


@part
def _put(edits, n, doc, start, stop, rule, text):  # type: ignore[no-untyped-def]
    edits[n, 0], edits[n, 1], edits[n, 2], edits[n, 3], edits[n, 4] = doc, start, stop, rule, text
    return n + 1


@part
def _clean_line(data, a, b, scratch, edits, n, doc, base):  # type: ignore[no-untyped-def]
    """Copy a line without its citations to scratch and note them as edits; return (length, edits)."""
    size = 0
    i = a
    while i < b:
        if data[i] == _OPEN:
            after = citation_at(data, i, b)
            if after > i:
                n = _put(edits, n, doc, i - base, after - base, _CITATION, _NOTHING)
                i = after
                continue
        scratch[size] = data[i]
        size += 1
        i += 1
    return size, n


@part
def _trim_front(data, a, b, edits, first, n, doc, base):  # type: ignore[no-untyped-def]
    """Delete the white space that leads the page once citations are gone, a run at once; return (first kept
    byte, edits)."""
    last = n
    begin = position = a
    while position < b:
        if first < last and edits[first, 1] + base == position:
            if position > begin:
                n = _put(edits, n, doc, begin - base, position - base, _WHITE_SPACE, _NOTHING)
            begin = position = edits[first, 2] + base
            first += 1
            continue
        _, width, bits = read(data, position, b)
        if not bits & SPACE:
            break
        position += width
    if position > begin:
        n = _put(edits, n, doc, begin - base, position - base, _WHITE_SPACE, _NOTHING)
    return position, n


@part
def _trim_back(data, a, b, edits, first, last, n, doc, base):  # type: ignore[no-untyped-def]
    """Delete the white space that ends the page once citations are gone, a run at once."""
    end = position = b
    while position > a:
        if last > first and edits[last - 1, 2] + base == position and edits[last - 1, 3] == _CITATION:
            if end > position:
                n = _put(edits, n, doc, position - base, end - base, _WHITE_SPACE, _NOTHING)
            last -= 1
            end = position = edits[last, 1] + base
            continue
        before = back(data, position, a)
        _, _, bits = read(data, before, position)
        if not bits & SPACE:
            break
        position = before
    if end > position:
        n = _put(edits, n, doc, position - base, end - base, _WHITE_SPACE, _NOTHING)
    return n


@kernel(
    types.int64(
        OFFSETS, OFFSETS, BYTES, types.int64, types.int64, types.boolean, _U8, BYTES, _U64, _OUT, _OUT
    )
)
def _clean(starts, stops, data, min_words, max_word_chars, end_mark, scratch, cleaned, room, out, edits):  # type: ignore[no-untyped-def]
    """Clean pages; `cleaned` reads what is written to `scratch`, so that `judge` is compiled for one type of
    array."""
    n = np.int64(0)
    for doc in range(len(starts)):
        base, stop = starts[doc], stops[doc]
        row = out[doc]
        i = base
        ending = follower = -1  # of the last kept line: where its terminator begins and ends
        kept_a = kept_b = kept_first = kept_last = 0  # its content, and its citations among the edits
        while i < stop:
            start = i
            end, i, bracket = next_line(data, start, stop, room)
            a, b = strip(data, start, end)
            before = n
            if has_long_word(data, a, b, max_word_chars):
                reason = LONG_WORD
            elif bracket:
                size, n = _clean_line(data, a, b, scratch, edits, n, doc, base)
                reason = judge(cleaned, np.int64(0), size, min_words, end_mark, room, row)
            else:
                reason = judge(data, a, b, min_words, end_mark, room, row)
            if reason >= 0:
                row[4 + reason] += 1
                n = _put(edits, before, doc, start - base, i - base, reason, _NOTHING)
                continue
            kept_first, kept_last, kept_a, kept_b = before, n, a, b  # type: ignore[assignment]  # the same type once compiled
            if ending < 0:
                kept_a, n = _trim_front(data, a, b, edits, before, n, doc, base)
            elif follower - ending != 1 or data[ending] != _NEWLINE:
                n = _put(edits, n, doc, ending - base, follower - base, _WHITE_SPACE, _A_NEWLINE)
            if a > start:
                n = _put(edits, n, doc, start - base, a - base, _WHITE_SPACE, _NOTHING)
            if end > b:
                n = _put(edits, n, doc, b - base, end - base, _WHITE_SPACE, _NOTHING)
            ending, follower = end, i
        if ending >= 0:
            n = _trim_back(data, kept_a, kept_b, edits, kept_first, kept_last, n, doc, base)
            if follower > ending:
                n = _put(edits, n, doc, ending - base, follower - base, _WHITE_SPACE, _NOTHING)
    return n


def measure_c4(batch: Batch, parameters: Mapping[str, Any]) -> Measured:
    """Clean pages; one so long that `page_chars` removes it anyway is measured at its start and not
    edited."""
    starts, stops = np.ascontiguousarray(batch.starts), np.ascontiguousarray(batch.stops)
    too_long = (stops - starts > MEASURED_BYTES) & bool(parameters["page_chars_bound"])
    stops = np.where(too_long, batch.measured_stops, stops)
    out = np.zeros((len(starts), len(_COUNTED)), np.int64)
    room = np.empty(ROOM, np.uint64)
    rows = batch.scratch.empty("edits", _most_edits(starts, stops, batch.data, room) * 5, np.int64).reshape(
        -1, 5
    )
    scratch = batch.scratch.empty("cleaned_line", int((stops - starts).max(initial=0)), np.uint8)
    limits = (
        int(parameters["min_words_per_line"]),
        int(parameters["max_word_chars"]),
        bool(parameters["end_mark"]),
    )
    cleaned = scratch.view()
    cleaned.flags.writeable = False
    count = _clean(starts, stops, batch.data, *limits, scratch, cleaned, room, out, rows)
    edits = _sorted(rows[:count], too_long)
    signals = {name: out[:, index] for index, name in enumerate(_COUNTED)}
    if parameters["sentence_model"]:
        signals["sentences"] = _punkt_sentences(batch, edits, str(parameters["sentence_model"]))
    return Measured({"chars": batch.characters, **signals}, edits)


def _sorted(rows: Any, left_out: Any) -> Edits:
    rows = rows[~left_out[rows[:, 0]]] if left_out.any() else rows
    order = np.argsort(
        rows[:, 0] * (rows[:, 2].max(initial=0) + 1) + rows[:, 1], kind="stable"
    )  # near-sorted: linear
    rows = rows[order]
    return Edits.from_rows(rows, (b"", b"\n"))


def _punkt_sentences(batch: Batch, edits: Edits, model: str) -> Any:
    """Count sentences of each kept line with an NLTK model, as the source does."""
    punkt = load_punkt(model)
    offsets, data = apply_edits(batch.starts, batch.stops, batch.data, edits)
    texts = [data[start:stop].tobytes().decode() for start, stop in pairwise(offsets)]
    return np.array(
        [sum(len(punkt.tokenize(line)) for line in text.split("\n")) if text else 0 for text in texts],
        np.int64,
    )


C4 = Measurement(measure_c4, C4_SIGNALS, C4_EDITS)
