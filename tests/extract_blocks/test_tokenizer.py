from __future__ import annotations

import html
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.tokenizer import tokenize

PIECES = (
    "<p>", "</p>", "<div>", "</div>", "<table>", "<td>", "</td>", "<tr>", "</table>", "<li>", "<ul>", "</ul>",
    "<svg>", "</svg>",
    "<script>", "</script>", "<a href=x>", "</a>", "<!--", "-->", "<br>", "<pre>", "</pre>", "<title>",
    "</title>", "<x-y>",
    "</x-y>",
    "<b>", "</b>", "<template>", "</template>", "&amp;", "&#x1F600;", "<", ">", "'", '"', " ", "=",
)  # fmt: skip


def blocks_of(page: str | bytes) -> list[str]:
    data = page.encode() if isinstance(page, str) else page
    text, blocks, *_ = tokenize(np.frombuffer(data, dtype=np.uint8))
    joined = text.tobytes()
    return [joined[start:end].decode() for start, end in blocks[:, :2]]


@pytest.mark.parametrize(
    ("page", "blocks"),
    [
        ("<p>one<p>two", ["one", "two"]),
        ("<ul><li>a<ul><li>b</ul><li>c</ul>", ["a", "b", "c"]),
        ("<div>a <b>bold</b>, <i>it</i>.</div>tail", ["a bold, it.", "tail"]),
        ("a<br>b<br><br>c", ["a\nb", "c"]),
        ("<a href=/>Home</a><a href=/x>News</a>", ["Home News"]),
        ("<p>x\n   y\t z&nbsp;&nbsp;w</p>", ["x y z w"]),
        ("<pre>\n\n  if x:\n    y  </pre>", ["  if x:\n    y"]),
        ("<script>var a = '<p>no</p>';</script>yes<style>p{}</style>", ["yes"]),
        ("<svg><title>no</title><text>no</text></svg>yes", ["yes"]),
        ("<svg><path d='M0'/><p>out of it", ["out of it"]),
        ("<template><p>no</p></template><p>yes", ["yes"]),
        ("<select><option>no<option>no</select>yes", ["yes"]),
        ("<!-- no --><p>yes<!-- > -->more", ["yesmore"]),
        ("<p>1 < 2 & 3 > 2", ["1 < 2 & 3 > 2"]),
        ("soft&shy;hyphen zero\u200bwidth", ["softhyphen zerowidth"]),
        ("<table><tr><td>a<td>b<tr><td>c</table>", ["a", "b", "c"]),
        ("<dl><dt>t<dd>d<dt>u</dl>", ["t", "d", "u"]),
        ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>字", ["漢字"]),
        ("<x-card>a<p>b</x-card>c", ["a", "bc"]),
        ("<title>never closed<p>text", ["never closed", "text"]),
        ("<p>text<script>never closed <p>no", ["text"]),
        ("<!-- never closed <p>text", ["text"]),
        ("</p></div>text</nonsense>", ["text"]),
    ],
)
def test_a_page_is_cut_into_blocks_as_a_reader_sees_them(page: str, blocks: list[str]) -> None:
    assert blocks_of(page) == blocks


@pytest.mark.parametrize("tag", ["div", "nav", "article", "li", "p"])
def test_a_block_knows_what_it_lies_in(tag: str) -> None:
    _, blocks, elements, *_ = tokenize(
        np.frombuffer(f"<{tag}>inside</{tag}>outside".encode(), dtype=np.uint8)
    )
    inside, outside = elements[blocks[0, L.ELEMENT]], elements[blocks[1, L.ELEMENT]]
    assert (inside[L.TAG], outside[L.TAG]) == (T.ID[tag], 0)
    assert inside[L.CONTEXT] == T.CONTEXT[T.ID[tag]] and outside[L.CONTEXT] == 0


@pytest.mark.parametrize("style", ["display:none", "color: red; DISPLAY : none", "visibility: hidden"])
def test_hidden_elements_are_known_as_such(style: str) -> None:
    _, blocks, elements, *_ = tokenize(
        np.frombuffer(f'<div style="{style}">x</div>'.replace(" :", ":").encode(), dtype=np.uint8)
    )
    assert elements[blocks[0, L.ELEMENT], L.CONTEXT] & T.HIDDEN


def test_a_block_is_measured_while_it_is_written() -> None:
    page = '<p>The <a href="/x">quick fox</a>, born 1999, <b>jumps</b>. 狐は'
    _, blocks, *_ = tokenize(np.frombuffer(page.encode(), dtype=np.uint8))
    row = blocks[0]
    assert (row[L.WORDS], row[L.LINK_WORDS], row[L.LINKS], row[L.LINK_CHARS]) == (8, 2, 1, 8)
    assert (row[L.DIGITS], row[L.COMMAS], row[L.ENDS], row[L.UPPER], row[L.BOLD_CHARS], row[L.WIDE]) == (
        4,
        2,
        1,
        1,
        5,
        2,
    )


@settings(deadline=None)  # the first example compiles
@given(st.text(st.sampled_from("ab19 ;&#xAlteqoumlnbsgc"), max_size=40))
def test_references_are_read_as_the_standard_library_reads_them(text: str) -> None:
    expected = "".join(
        ch for ch in html.unescape(text) if ch.isspace() or (ch.isprintable() and ch != "\xad")
    )
    assert " ".join(blocks_of("<p>" + text)) == re.sub(r"\s+", " ", expected).strip()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(PIECES),
            st.text(max_size=8),
        ),
        max_size=60,
    )
)
def test_any_page_gives_valid_blocks_in_order(pieces: list[str]) -> None:
    data = "".join(pieces).encode("utf-8", "replace")
    text, blocks, elements, _, tokens, words, *_ = tokenize(np.frombuffer(data, dtype=np.uint8))
    text.tobytes().decode()
    starts, ends = blocks[:, L.START], blocks[:, L.END]
    assert (starts < ends).all() and (starts[1:] >= ends[:-1]).all()
    assert (blocks[:, L.WORDS] > 0).all() and (blocks[:, L.LINK_WORDS] <= blocks[:, L.WORDS]).all()
    assert (blocks[:, L.ELEMENT] < len(elements)).all()
    assert (elements[1:, L.PARENT] < np.arange(1, len(elements))).all()
    assert (elements[:, L.TOKENS_END] <= len(tokens)).all() and (blocks[:, L.WORD_END] <= len(words)).all()


@pytest.mark.parametrize(
    ("page", "cap"),
    [
        ("<div>" * 1000 + "x", "depth"),
        ("<i-x></i-x>" * 61_000 + "x", "elements"),
        ("<p>x" * 31_000, "blocks"),
    ],
)
def test_a_cap_that_is_hit_is_named(page: str, cap: str) -> None:
    caps = tokenize(np.frombuffer(page.encode(), dtype=np.uint8))[-1]
    assert [name for bit, name in enumerate(L.CAPS) if caps >> bit & 1] == [cap]


@pytest.mark.parametrize(
    "piece",
    ["<script>", "<svg>", "<template>", "<title>", "<textarea>", "<iframe><xmp>", "<!--", "<div>", "</q>",
        "<a href='", "<p><b>",
    "<li>",
     "<table><tr><td>", "&", "<", "<x-y>", "<select><option>", "<b class='x y'>", "<pre>\n", "</div>x",
     "<br>", "<h1>a"],
)  # fmt: skip
def test_the_time_is_linear_in_the_page_whatever_it_repeats(piece: str) -> None:
    import time

    def seconds(times: int) -> float:
        data = np.frombuffer((piece * times + "x").encode(), dtype=np.uint8)
        best = 1.0
        for _ in range(3):
            started = time.process_time()
            tokenize(data)
            best = min(best, time.process_time() - started)
        return best

    assert seconds(40_000) < 0.05 + 20 * seconds(4_000)
