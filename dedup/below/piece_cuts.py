"""Chosen pieces cut out of a column of texts, and which texts are too small for what is left of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import types

from gristmill.dedup.below.cuts import Cuts, Failures
from gristmill.dedup.below.split import Bounds, sentence_bounds
from gristmill.dedup.settings.parts import PieceSettings
from gristmill.text.kernel import BYTES, OFFSETS, kernel
from gristmill.text.lanes import address_of, copy_bytes
from gristmill.text.points import ASCII_CLASS, read
from gristmill.text.tables import SPACE
from gristmill.text.words import Int64s, text_spans

_INTS = types.Array(types.int64, 1, "C")
_BYTES_OUT = types.Array(types.uint8, 1, "C")


class Chosen(NamedTuple):
    """The pieces to cut out of n texts: of n + 1 texts the number of its first, and for each its number in
    its text and that of the one that stays there (beyond all pieces where that lies in another text)."""

    rows: Int64s
    pieces: Int64s
    spared: Int64s


def cut_pieces(texts: pa.LargeStringArray, bounds: Bounds, chosen: Chosen, width: int) -> Cuts:
    """Cut pieces out of every text; a piece is `width` units long, of which those of the one that stays are
    spared.

    After the last unit that stays, the separator before a cut goes too: none is left hanging at the end.
    """
    starts, stops, data = text_spans(texts)
    starts, stops = np.ascontiguousarray(starts), np.ascontiguousarray(stops)
    num_cut, rows = np.zeros(len(starts), np.int64), np.zeros(len(starts) + 1, np.int64)
    edits = np.empty((2, len(bounds.starts)), np.int64)
    doomed = np.zeros(len(bounds.starts), np.uint8)
    num_edits = _edits(*bounds, *chosen, width, doomed, num_cut, rows, *edits)
    edit_starts, edit_stops = edits[:, :num_edits]
    ends = np.empty(len(starts) + 1, np.int64)
    left = np.empty(int((stops - starts).sum()) + 1, np.uint8)
    _without(data, starts, stops, rows, edit_starts, edit_stops, ends, left)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(left[: ends[-1]])]
    column = pa.Array.from_buffers(pa.large_string(), len(starts), buffers)
    return Cuts(rows, edit_starts, edit_stops, num_cut, column)


@kernel(types.int64(*(OFFSETS,) * 4, *(OFFSETS,) * 3, types.int64, _BYTES_OUT, _INTS, _INTS, _INTS, _INTS))
def _edits(  # type: ignore[no-untyped-def]
    begins, ends, nexts, rows, chosen, pieces, spared, width, doomed, num_cut, edit_rows, starts, stops
):
    found = 0
    for text in range(len(rows) - 1):
        first, last = rows[text], rows[text + 1]
        for each in range(chosen[text], chosen[text + 1]):
            for place in range(pieces[each], min(pieces[each] + width, last - first)):
                if place < spared[each] or place >= spared[each] + width:
                    doomed[first + place] = 1
        kept = last - 1
        while kept >= first and doomed[kept]:
            kept -= 1
        begun = found
        for place in range(first, last):
            if not doomed[place]:
                continue
            num_cut[text] += 1
            start = ends[kept] if kept >= first and place == kept + 1 else begins[place]
            stop = nexts[place]
            if found > begun and start <= stops[found - 1]:
                stops[found - 1] = max(stops[found - 1], stop)
            elif stop > start:
                starts[found], stops[found] = start, stop
                found += 1
        edit_rows[text + 1] = found
    return found


@kernel(types.void(BYTES, OFFSETS, OFFSETS, OFFSETS, OFFSETS, OFFSETS, _INTS, _BYTES_OUT))
def _without(data, starts, stops, rows, cut_starts, cut_stops, ends, out):  # type: ignore[no-untyped-def]
    source, target = address_of(data), address_of(out)
    to = 0
    ends[0] = 0
    for text in range(len(starts)):
        base = at = starts[text]
        for edit in range(rows[text], rows[text + 1]):
            size = base + cut_starts[edit] - at
            copy_bytes(source + np.uint64(at), target + np.uint64(to), size)
            to += size
            at = base + cut_stops[edit]
        size = stops[text] - at
        copy_bytes(source + np.uint64(at), target + np.uint64(to), size)
        to += size
        ends[text + 1] = to


def too_small(settings: PieceSettings, cuts: Cuts, num_pieces: Int64s) -> Failures:
    """Return the texts that something was cut out of and that miss a minimum, with the first they miss.

    `num_pieces` are those left of each text.
    """
    rule = np.full(len(num_pieces), -1, np.int64)
    value = np.zeros(len(num_pieces))
    measures: dict[str, tuple[int, Callable[[pa.LargeStringArray, Int64s], npt.NDArray[Any]]]] = {
        "pieces": (settings.min_pieces, lambda texts, places: num_pieces[places]),
        "characters": (settings.min_characters, lambda texts, places: pc.utf8_length(texts).to_numpy()),
        "words": (settings.min_words, lambda texts, places: _num_words(texts)),
        "sentences": (settings.min_sentences, lambda texts, places: np.diff(sentence_bounds(texts).rows)),
    }
    for number, (bound, measure) in enumerate(measures.values()):
        open_ = np.flatnonzero((cuts.num_cut > 0) & (rule < 0))
        if bound and len(open_):
            found = measure(cuts.left.take(pa.array(open_)), open_)
            missed = found < bound
            rule[open_[missed]], value[open_[missed]] = number, found[missed]
    places = np.flatnonzero(rule >= 0)
    names = list(measures)
    return Failures(
        places,
        [f"dedup.{settings.unit}.min_{names[number]}" for number in rule[places].tolist()],
        value[places].tolist(),
        [float(measures[names[number]][0]) for number in rule[places].tolist()],
    )


def _num_words(texts: pa.LargeStringArray) -> Int64s:
    """Count the words of every text as `str.split` parts them."""
    starts, stops, data = text_spans(texts)
    counts = np.zeros(len(starts), np.int64)
    _count_words(data, np.ascontiguousarray(starts), np.ascontiguousarray(stops), counts)
    return counts


@kernel(types.void(BYTES, OFFSETS, OFFSETS, _INTS))
def _count_words(data, starts, stops, counts):  # type: ignore[no-untyped-def]
    for text in range(len(starts)):
        at, stop = starts[text], stops[text]
        in_word = False
        while at < stop:
            if data[at] < 0x80:
                is_space = ASCII_CLASS[data[at]] & SPACE != 0
                at += 1
            else:
                _, width, bits = read(data, at, stop)
                is_space = bits & SPACE != 0
                at += width
            counts[text] += in_word < (not is_space)
            in_word = not is_space
