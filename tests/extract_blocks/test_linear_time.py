"""The time of an extraction grows as the page does, whatever it holds: measured in CPU time at n and 4 n."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gristmill.pipeline.extract.blocks import elsewhere
from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.layout import STRONG_BEGIN
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.structure import asciimath, data_tables, listings
from gristmill.pipeline.extract.blocks.structure.delimiters import mark
from gristmill.pipeline.extract.blocks.structure.formulas import read
from gristmill.pipeline.extract.blocks.structure.fragment import parse
from gristmill.pipeline.extract.blocks.structure.inline import wrap
from gristmill.pipeline.extract.blocks.structure.mathml import to_tex

PROSE = "<p>The mill stood at the end of the valley, where the river, swollen by rains, ran fast enough.</p>"
EVERYTHING = BlocksSettings(format="markdown", links=True, emphasis=True, images=True)
MATHJAX = b"MathJax inlineMath: [['$','$']]"
MOST_GROWTH = 9.0  # times the time for four times the input; a quadratic path takes sixteen
LEAST_SECONDS = 0.04  # that the larger input must take for its growth to be judged


def growth(act: Callable[[str], object], make: Callable[[int], str], num: int) -> float:
    """Return the least CPU time for the input of 4 n over that for n, 0 where both are too short to tell."""
    num //= 2
    act(make(num // 8))  # compiled, loaded
    best = [1e9, 1e9]
    for _ in range(3):
        for k, size in enumerate((num, 4 * num)):
            source = make(size)
            began = time.process_time()
            act(source)
            best[k] = min(best[k], time.process_time() - began)
        if best[1] < LEAST_SECONDS or best[1] < MOST_GROWTH * best[0]:
            break
    return best[1] / best[0] if best[1] >= LEAST_SECONDS else 0.0


def deep(opening: str, inside: str, depth: int = 150) -> Callable[[int], str]:
    return lambda num: opening * depth + inside * num


FRAGMENTS: dict[str, tuple[Callable[[str], object], Callable[[int], str], int]] = {
    "items under a deep stack": (parse, deep("<b>", "<li>"), 4000),
    "end tags of what is not open": (parse, deep("<b>", "</i>"), 4000),
    "quotes that swallow every tag's end": (parse, lambda n: '<a "b>" ' * n, 4000),
    "tags without an end": (parse, lambda n: "<a " * n, 10_000),
    "comments without an end": (parse, lambda n: "<!--" * n, 10_000),
    "empty lines side by side": (listings.find, lambda n: "<pre>a\n" + "<p></p>" * n, 2000),
    "blank lines before code": (listings.find, lambda n: "<pre>" + "\n" * n + "a = 1</pre>", 60_000),
    "blanks without a break": (listings.find, lambda n: "<div class=hljs>a<br>" + " " * n + "b\n;", 10_000),
    "code within code": (listings.find, deep("<pre>1\n", "<i>2\n"), 2000),
    "gutters within gutters": (
        listings.find,
        deep("<table class=hljs><tr><td class=num>", "<i>1</i>", 60),
        2000,
    ),
    "cells around cells of code": (
        listings.find,
        lambda n: "<table class=hljs>" + "<tr><td>" * 60 + "<i></i>" * n + "<table><tr><td class=code>a",
        2000,
    ),
    "a language behind blanks": (
        lambda s: listings.find(f'<pre class="{s}">a</pre>'),
        lambda n: "brush:" + " " * n + "1",
        10_000,
    ),
    "tables in tables": (data_tables.find, deep("<table><tr><td>a<td>b", "<i>c</i>", 60), 4000),
    "a wide row over many short ones": (
        data_tables.find,
        lambda n: "<table><tr>" + "<td>a" * n + "<tr><td>b" * n,
        500,
    ),
    "a long word that spans rows and columns": (
        data_tables.find,
        lambda n: "<table><tr><td colspan=200 rowspan=200>" + "a" * n + "<td>b" + "<tr><td>c" * (n // 40),
        1000,
    ),
    "signs around a formula's number": (
        data_tables.find,
        lambda n: "<table><tr><td><math><mi>a</mi></math><td>" + "." * n + "ab cd",
        2000,
    ),
    "an annotation that is not closed": (
        read,
        lambda n: '<math><annotation encoding="application/x-tex">' + "a" * n + "<b></math>",
        8000,
    ),
    "a drawing of opening brackets": (read, lambda n: '<span class="katex">' + "<" * n, 8000),
    "rows around one sign": (
        lambda s: to_tex(parse(s)),
        lambda n: ("<mrow>" * 190 + "</mrow>" * 190) * n,
        10,
    ),
    "fences within fences": (
        lambda s: to_tex(parse(s)),
        lambda n: "<mo>(</mo>" * n + "<msup><mo>)</mo><mn>2</mn></msup>" * n,
        500,
    ),
    "blanks within a phrase": (lambda s: wrap(STRONG_BEGIN, s), lambda n: "a" + " " * n + "b", 10_000),
    "texts without an end in AsciiMath": (asciimath.to_tex, lambda n: "text(" * n, 1000),
    "breaks without an end": (elsewhere._plain, lambda n: "<br" * n, 8000),
}


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_reader_of_fragments_is_linear(name: str) -> None:
    assert growth(*FRAGMENTS[name]) < MOST_GROWTH


@pytest.mark.parametrize("unit", ["\\[", "\\(a ", "$$a$b", "$$$$$$", "$a\\$", "[latex]", "\\begin{align}",
    "$latex ", "`a", "\\begin{math}$"])  # fmt: skip
def test_marks_of_formulas_that_never_close_are_searched_once(unit: str) -> None:
    for page in (b"", MATHJAX):
        assert growth(lambda text, page=page: mark(page, text), lambda n: unit * n, 8000) < MOST_GROWTH  # type: ignore[misc]


PAGES: dict[str, tuple[Callable[[int], str], int]] = {
    "names of code within each other": (
        lambda n: ("<div class=hljs>word " * 100 + "word " * (n // 4) + "</div>" * 100) * 4,
        6000,
    ),
    "tables within tables": (
        lambda n: ("<table><tr><td>a<td>b " * 40 + "<i>c</i> " * 100) * (n // 100),
        1000,
    ),
    "lists of one item": (lambda n: "<ol><li>item</ol>" * n, 1500),
    "items in a deep stack": (lambda n: "<b><ul>" * 100 + "<ul><li>item</ul>" * n, 1500),
    "phrases within phrases": (lambda n: "<p>" + "<b>a" * n + "</b>" * n, 2500),
    "code of blank lines": (lambda n: "<pre>a\n" + "\n" * n + "b;\n#" + "<br>x" * 9 + "</pre>", 30_000),
    "scripts that close themselves": (lambda n: "<pre>" + "<script/>a\n" * n + "</pre>", 2500),
    "rows of teasers": (
        lambda n: (
            "<ul>" + "<li><a href=/>Other news of today</a><p>What others saw on that very day.</p>" * n
        ),
        2000,
    ),
    "teasers in a deep stack": (
        lambda n: "<div>" * 150 + "<a href=/>Other news of today</a><p>What others saw on that day.</p>" * n,
        2000,
    ),
    "state objects": (lambda n: "<script id=__NEXT_DATA__ " * n, 4000),
    "configurations": (lambda n: "MathJax delimiters['','',\"\\( a" * n, 4000),
    "images of base 64": (
        lambda n: "<img src='data:tex" + "a" * n + "'>" + "<img src='latex?a'>" * 99,
        40_000,
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_extracted_in_linear_time(name: str) -> None:
    make, num = PAGES[name]

    def act(inside: str) -> None:
        extract(PROSE * 3 + inside + PROSE * 3, "https://example.org/", EVERYTHING)
        extract(inside, "https://example.org/")

    assert growth(act, make, num) < MOST_GROWTH


def test_headings_of_comments_are_looked_behind_once() -> None:
    without = BlocksSettings(comments=False)
    make = lambda n: "<h2 id=comments>c</h2><p>text of it</p>" * n  # noqa: E731
    assert growth(lambda page: extract(page, settings=without), make, 4000) < MOST_GROWTH


@pytest.mark.parametrize("script", ["msup", "msubsup", "munderover"])
def test_a_nest_of_scripts_that_lack_arguments_is_written_once_at_each_level(script: str) -> None:
    base = "<mo>lim</mo>" if script == "munderover" else "" if script == "msup" else "<mi>a</mi>"
    assert len(to_tex(parse(f"<{script}>{base}" * 60 + "<mi>x</mi>"))) < 2000


@pytest.mark.parametrize(
    "element", ["msqrt", "mmultiscripts", "mfenced", "mtable><mtr><mtd", "mfrac", "mrow"]
)
def test_the_deepest_nest_of_mathml_is_written(element: str) -> None:
    assert "x" in to_tex(parse(f"<math>{f'<{element}>' * (180 // element.count('m'))}<mi>x</mi>"))


def test_a_table_out_of_proportion_is_left_to_its_text() -> None:
    wide = "<table><tr>" + "<td>a" * 300 + "<tr><td>b" * 300
    assert data_tables.find(wide) is None
    assert data_tables.find("<table><tr><td colspan=3 rowspan=2>a<td>b<tr><td>c<tr><td>d<td>e<td>f<td>g")


def test_a_character_reference_of_thousands_of_digits_is_read() -> None:
    digits = "9" * 5000
    page = PROSE + f"<pre>a&#{digits};b\n<br>c</pre><img class=latex alt='x&#{digits};'>" + PROSE
    assert "The mill" in extract(f"<title>&#{digits};</title>" + page, settings=EVERYTHING).text


def test_an_address_that_cannot_be_read_is_no_formula() -> None:
    assert read('<img src="http://[codecogs.com/?x">') is None
