from __future__ import annotations

import numpy as np
import pytest

from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.settings import BlocksSettings

PROSE = [
    (
        "The mill stood at the end of the valley, where the river, swollen by the spring rains, ran fast"
        " enough to turn two wheels."
    ),
    (
        "Nobody in the village could remember who had built it, although the miller claimed that his family"
        " had owned it for ages."
    ),
    (
        "When the wheel stopped one morning in March, the whole village came out to see what had happened,"
        " and found the river gone."
    ),
]
PAGE = f"""<!doctype html><html lang=en><head><title>The mill | Valley News</title>
<meta property="og:title" content="The mill &amp; the river"><meta name=author content="A. Writer">
<meta property="article:published_time" content="2021-03-04T05:06:07+02:00"
><link rel=canonical href="/mill"></head>
<body><nav class="main-menu"><ul><li><a href=/>Home</a><li><a href=/news>News</a><li><a
href=/about>About us</a></ul></nav>
<article class="post"><h1>The mill</h1>{"".join(f"<p>{line}</p>" for line in PROSE)}
<h2>Words</h2><ul><li>wheel, the part that turns and drives the stones
<li>stone, the part that grinds the grain</ul>
<pre>def turn(wheel):
    return wheel + 1</pre><p>{PROSE[0][::-1]}</p></article>
<footer class="site-footer"><p>Copyright 2021 Valley News. All rights reserved.</p><a
href=/terms>Terms of use</a></footer>
</body></html>"""


def test_the_article_is_kept_and_the_furniture_is_not() -> None:
    lines = extract(PAGE).text.split("\n")
    assert all(line in lines for line in PROSE)
    assert "Home" not in lines and not any("rights reserved" in line for line in lines)


def test_code_keeps_its_lines_and_indentation() -> None:
    assert "def turn(wheel):\n    return wheel + 1" in extract(PAGE).text


def test_a_page_describes_itself() -> None:
    page = extract(PAGE, "https://valley.example/2021/mill?x=1")
    assert (page.title, page.author, page.canonical_url) == (
        "The mill & the river",
        "A. Writer",
        "https://valley.example/mill",
    )
    assert page.date is not None and page.date.isoformat() == "2021-03-04T03:06:07+00:00"


def test_markdown_marks_headings_lists_and_code() -> None:
    text = extract(PAGE, settings=BlocksSettings(format="markdown", recall_weight=1.7)).text
    assert "# The mill" in text and "```\ndef turn(wheel):\n    return wheel + 1\n```" in text


def test_recall_weight_keeps_more_or_less() -> None:
    sizes = [
        len(extract(PAGE, settings=BlocksSettings(recall_weight=weight)).text) for weight in (0.2, 1.0, 5.0)
    ]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    "html", ["", " ", "<", "<p", "</", "<!--", "&", "<script>", "<p>&#", "<a href='", "no markup"]
)
def test_a_page_without_main_text_gives_the_empty_string_or_its_words(html: str) -> None:
    assert extract(html).text in ("", "no markup", "<", "&", "&#")


def test_text_and_bytes_are_the_same_page() -> None:
    assert extract(PAGE) == extract(PAGE.encode())


def test_the_same_page_gives_the_same_text_every_time() -> None:
    assert len({extract(PAGE).text for _ in range(3)}) == 1
    assert np.array_equal(*[np.frombuffer(extract(PAGE).text.encode(), np.uint8) for _ in range(2)])
