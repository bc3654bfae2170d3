"""The headline above an article is kept, once, and not where it is the name of a site or not asked for."""

from __future__ import annotations

import numpy as np
import pytest

from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.headline import keep_headline
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.tokenizer import tokenize
from gristmill.pipeline.extract.child import Child
from gristmill.pipeline.extract.extracted import Form
from gristmill.pipeline.extract.extractors import load_extractor
from gristmill.pipeline.extract.frames import Page
from gristmill.pipeline.extract.settings import ExtractSettings

PROSE = (
    "The mill stood at the end of the valley, where the river, swollen by the rains, ran fast enough.",
    "Nobody in the village could remember who had built it, although the miller claimed to know it.",
    "When the wheel stopped one morning in March, the whole village came out to see what it was.",
)
HEADLINE = "Villagers find the river gone one morning"
TEXT = "".join(f"<p>{line}</p>" for line in PROSE)


def kept(title: str, above: str, probabilities: list[float], head: str = "") -> list[str]:
    """Return the blocks kept of a page whose prose is, with the probabilities of what stands above it."""
    html = f"<html><head><title>{title}</title>{head}</head><body>{above}{TEXT}</body></html>".encode()
    page = np.frombuffer(html, np.uint8)
    found = tokenize(page)
    texts = [found.text.tobytes()[start:end].decode() for start, end in found.blocks[:, :2].tolist()]
    all_of = np.array([*probabilities, *[0.9] * len(PROSE)], dtype=np.float32)
    assert len(all_of) == len(texts), texts
    chosen = np.array([text in PROSE for text in texts])
    keep_headline(page, found.marks, found.blocks, found.words, all_of, chosen)
    return [text for text, is_kept in zip(texts, chosen, strict=True) if is_kept and text not in PROSE]


@pytest.mark.parametrize("tag", ["h1", "h2", "h3", "div", "p"])
@pytest.mark.parametrize("title", [HEADLINE, f"{HEADLINE} | Valley News", f"Valley News: Local - {HEADLINE}"])
def test_the_block_that_repeats_the_title_is_kept(tag: str, title: str) -> None:
    assert kept(title, f"<{tag}>{HEADLINE}</{tag}><p>By A. Writer</p>", [0.1, 0.1]) == [HEADLINE]


def test_the_title_said_to_other_sites_counts_and_words_may_be_marked_up() -> None:
    above = f"<h1>{HEADLINE.replace('river', '<em>river</em>').upper()}</h1>"
    head = f'<meta property="og:title" content="{HEADLINE}">'
    assert kept("Valley News", above, [0.1], head) == [HEADLINE.upper()]


def test_two_words_are_a_headline_where_they_are_half_of_the_title() -> None:
    assert kept("The mill | News", "<h1>The mill</h1>", [0.1]) == ["The mill"]
    assert kept("The mill | Weekly News of the Valley", "<h1>The mill</h1>", [0.1]) == []


def test_of_several_the_headline_itself_is_kept_not_a_path_that_ends_in_it() -> None:
    above = f"<p>Home News Local {HEADLINE}</p><h1>{HEADLINE}</h1>"
    assert kept(HEADLINE, above, [0.3, 0.1]) == [HEADLINE]


@pytest.mark.parametrize(
    ("title", "above", "probability"),
    [
        (HEADLINE, "<h1>Another tale of the valley and its people</h1>", 0.4),
        (HEADLINE, f"<h1>{HEADLINE}</h1>", 0.01),  # the classifier is all but sure: a tab, a teaser
        (f"The Valley Weekly News: {HEADLINE}", "<p>The Valley Weekly News</p>", 0.1),  # named below
        ("News", "<h1>News</h1>", 0.4),
        ("", f"<h1>{HEADLINE}</h1>", 0.4),
    ],
)
def test_what_is_no_headline_is_not_kept(title: str, above: str, probability: float) -> None:
    head = '<meta property="og:site_name" content="The Valley Weekly News">'
    assert kept(title, above, [probability], head) == []


def test_what_is_far_above_the_text_is_not_kept() -> None:
    between = "".join(f"<p>button {n}</p>" for n in range(40))
    assert kept(HEADLINE, f"<h1>{HEADLINE}</h1>{between}", [0.3] + [0.1] * 40) == []


def test_a_lead_behind_the_headline_is_kept_and_a_date_is_not() -> None:
    lead = "Nobody saw where the water went, and nobody in the valley wants to say so"
    date = "Published on the third of March 2021 at 10:45 by our own correspondent"
    above = f"<h1>{HEADLINE}</h1><p>{lead}</p><p>{date}</p>"
    assert kept(HEADLINE, above, [0.1, 0.3, 0.3]) == [HEADLINE, lead]
    assert kept(HEADLINE, f"<h1>{HEADLINE}</h1><p>{date}</p>", [0.1, 0.3]) == [HEADLINE]


def test_a_page_that_keeps_nothing_has_no_headline() -> None:
    html = f"<html><head><title>{HEADLINE}</title></head><body><h1>{HEADLINE}</h1></body></html>"
    found = tokenize(page := np.frombuffer(html.encode(), np.uint8))
    none = np.zeros(len(found.blocks), dtype=bool)
    keep_headline(page, found.marks, found.blocks, found.words, np.full(1, 0.4, np.float32), none)
    assert not none.any()


PAGE = (
    f"<html><head><title>{HEADLINE} | Valley News</title></head><body>"
    f"<div class=top><h1>{HEADLINE}</h1></div>"
    f"<ul class=nav><li><a href=/>Home</a><li><a href=/n>News</a></ul>"
    f"<article>{TEXT * 2}</article></body></html>"
)


@pytest.mark.parametrize("name", ["blocks", "auto"])
def test_extractors_by_name_take_the_option(name: str) -> None:
    with_it = load_extractor(name)(PAGE, None).text
    without = load_extractor(name, form=Form(headline=False))(PAGE, None).text
    assert with_it == f"{HEADLINE}\n{without}" and without.startswith(PROSE[0])


def test_the_headline_comes_once_and_first_in_markdown_too() -> None:
    text = extract(PAGE, settings=BlocksSettings(format="markdown")).text
    assert text.startswith(f"# {HEADLINE}\n") and text.count(HEADLINE) == 1


def test_a_recipe_hands_the_option_on_to_the_extractors_process() -> None:
    page = [Page("https://example.org/", "text/html", "utf-8", "", PAGE.encode())]
    for headline in (True, False):
        with Child(ExtractSettings(extractor="blocks", headline=headline)) as child:
            (found,) = child.extract(page)
        assert (HEADLINE in str(found)) == headline and PROSE[0] in str(found)
