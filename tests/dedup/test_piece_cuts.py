"""Pieces cut out of columns of texts: as each text's pieces are cut one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.dedup.below.cuts import merge_edits, without
from gristmill.dedup.below.piece_cuts import Chosen, cut_pieces, too_small
from gristmill.dedup.below.split import bounds_of, pieces_of
from gristmill.dedup.settings.parts import LineSettings, SpanSettings

NOWHERE = 0xFFFFFFFF
TEXT = st.text(alphabet="aB. \n\u00a0é漢\u0130", max_size=30)
CUTS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([NOWHERE, 0, 1])), max_size=4)
SETTINGS = st.sampled_from([LineSettings(), SpanSettings(sentences=2)])


@given(st.lists(st.tuples(TEXT, CUTS), min_size=1, max_size=5), SETTINGS)
@settings(max_examples=200, deadline=None)
def test_a_column_is_cut_as_its_texts_are_one_by_one(
    cases: list[tuple[str, list[tuple[int, int]]]], kind: LineSettings | SpanSettings
) -> None:
    width = kind.sentences if isinstance(kind, SpanSettings) else 1
    texts = pa.array([text for text, _ in cases], pa.large_string())
    pieces = list(pieces_of(kind, pa.chunked_array([texts])))
    asked = [
        [cut for cut in cuts if cut[0] + width <= len(mine)]
        for (_, cuts), mine in zip(cases, pieces, strict=True)
    ]
    flat = np.array([cut for cuts in asked for cut in cuts], np.int64).reshape(-1, 2)
    rows = np.cumsum([0, *map(len, asked)])
    chosen = Chosen(rows, *(np.ascontiguousarray(flat[:, at]) for at in (0, 1)))
    found = cut_pieces(texts, bounds_of(kind, texts), chosen, width)
    for number, (text, _) in enumerate(cases):
        doomed = {
            place
            for piece, stays in asked[number]
            for place in range(piece, piece + width)
            if not stays <= place < stays + width
        }
        mine = pieces[number]
        kept = max((place for place in range(len(mine)) if place not in doomed), default=len(mine))
        starts = {place: mine[kept].end if place == kept + 1 else mine[place].start for place in doomed}
        edits = merge_edits((starts[place], mine[place].next_start) for place in doomed)
        span = slice(found.rows[number], found.rows[number + 1])
        assert list(zip(found.starts[span].tolist(), found.stops[span].tolist(), strict=True)) == edits
        assert found.num_cut[number] == len(doomed)
        assert found.left[number].as_py() == without(text, edits)


@given(st.lists(st.text(alphabet="a \u00a0é漢\u2028\x1c.", max_size=12), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_words_and_characters_that_are_left_are_those_of_python(texts: list[str]) -> None:
    column = pa.array([f"{text}\nx" for text in texts], pa.large_string())
    bounds = bounds_of(LineSettings(), column)
    last = np.diff(bounds.rows) - 1
    chosen = Chosen(np.arange(len(texts) + 1), last, np.full(len(texts), NOWHERE))
    cuts = cut_pieces(column, bounds, chosen, 1)
    left = cuts.left.to_pylist()
    for name, measure in (("min_words", lambda text: len(text.split())), ("min_characters", len)):
        asked = LineSettings(**{"min_sentences": 0, "min_pieces": 0, name: 3})
        failed = too_small(asked, cuts, last)
        wanted = [(place, float(measure(text))) for place, text in enumerate(left) if measure(text) < 3]
        assert list(zip(failed.places.tolist(), failed.values, strict=True)) == wanted
        assert set(failed.rules) <= {f"dedup.line.{name}"}
