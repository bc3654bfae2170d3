"""Teasers of other pages, and pieces that lie apart, go where the rest of the page is surer; nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from gristmill.pipeline.extract.blocks.strays import settle
from gristmill.pipeline.extract.blocks.tokenizer import tokenize

PROSE = "The mill stood at the end of the valley, where the river, swollen by rains, ran fast enough. "
ARTICLE = "".join(f"<p>{PROSE * 2}</p>" for _ in range(3))


def settled(body: str, probability: dict[str, float]) -> list[str]:
    """Return the blocks kept of a page, each with the probability of the first key it begins with, else 0."""
    found = tokenize(np.frombuffer(f"<html><body>{body}</body></html>".encode(), np.uint8))
    texts = [found.text.tobytes()[start:end].decode() for start, end in found.blocks[:, :2].tolist()]
    each = [next((p for key, p in probability.items() if text.startswith(key)), 0.0) for text in texts]
    kept = settle(
        np.array(each, np.float32), found.blocks, found.elements, np.zeros(len(texts), np.float32), 1.0
    )
    return [text for text, is_kept in zip(texts, kept, strict=True) if is_kept]


def teasers(number: int, link: str = "<a href=/{n}>Other news of day {n}</a>") -> str:
    item = f"<li><h3>{link}</h3><p>Teaser {{n}} tells in a few words what others saw that day.</p></li>"
    return "<ul>" + "".join(item.format(n=n) for n in range(number)) + "</ul>"


def test_teasers_go_where_the_article_is_surer() -> None:
    text = settled(teasers(5) + ARTICLE, {"The mill": 0.95, "Teaser": 0.7, "Other news": 0.6})
    assert len(text) == 3 and all(line.startswith("The mill") for line in text)


@pytest.mark.parametrize(
    ("body", "article", "number"),
    [
        (teasers(5) + ARTICLE, 0.75, 8),  # as sure of them as of the article
        (teasers(2) + ARTICLE, 0.95, 5),  # two are no row of teasers
        (teasers(5, "Day {n} of other news") + ARTICLE, 0.95, 8),  # no links: sections
        (teasers(5), 0.95, 5),  # nothing else: they are what the page is for
    ],
)
def test_what_only_looks_like_teasers_stays(body: str, article: float, number: int) -> None:
    text = settled(body, {"The mill": article, "Teaser": 0.7})
    assert len(text) == number


def test_what_lies_apart_goes_where_the_page_is_much_less_sure_of_it() -> None:
    body = ARTICLE + "<hr>".join(f"<div>x{n}</div>" for n in range(8)) + "<p>Rules for comments: be kind.</p>"
    assert len(settled(body, {"The mill": 0.9, "Rules": 0.55})) == 3
    assert len(settled(body, {"The mill": 0.85, "Rules": 0.55})) == 4
    near = ARTICLE + "<div>x</div><p>Rules for comments: be kind.</p>"
    assert len(settled(near, {"The mill": 0.9, "Rules": 0.55})) == 4


def test_a_long_piece_apart_stays() -> None:
    rest = "<hr>".join(f"<div>x{n}</div>" for n in range(8)) + f"<p>Second part {PROSE * 30}</p>"
    text = settled(f"<p>{PROSE * 60}</p>" + rest, {"The mill": 0.95, "Second": 0.55})
    assert len(text) == 2


def test_no_blocks_and_nothing_kept() -> None:
    assert settled("", {}) == [] == settled("<p>nothing here</p>" * 5, {})


def test_a_page_that_is_sure_of_its_text_drops_what_it_doubts_and_one_that_is_not_keeps_it() -> None:
    middle = "<p>Share this story with all of your friends.</p>"
    body = ARTICLE + middle + ARTICLE
    assert len(settled(body, {"The mill": 0.99, "Share": 0.55})) == 6
    assert len(settled(body, {"The mill": 0.86, "Share": 0.55})) == 7


def test_the_last_block_stays_where_its_own_odds_are_high_enough() -> None:
    body = ARTICLE + "<p>A signature of four words.</p><p>Something else below that.</p>"
    text = settled(body, {"The mill": 0.99, "A signature": 0.55})
    assert text[-1] == "A signature of four words."
    assert len(settled(body, {"The mill": 0.99, "A signature": 0.2})) == 3
