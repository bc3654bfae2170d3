from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from gristmill.pipeline.extract.blocks.metadata import About, describe, parse_date
from gristmill.pipeline.extract.blocks.tokenizer import tokenize


def about(page: str, url: str | None = None) -> About:
    data = page.encode()
    return describe(data, tokenize(np.frombuffer(data, dtype=np.uint8)).marks, url)


def test_meta_elements_come_before_the_title_element() -> None:
    page = about(
        "<title>A | Site</title><meta property='og:title' content='A &amp; B'><meta property=og:site_name"
        " content=Site>"
    )
    assert (page.title, page.site_name) == ("A & B", "Site")


def test_linked_data_fills_what_meta_elements_leave_out() -> None:
    page = about(
        """<script type="application/ld+json">{"@graph": [{"@type": "WebSite", "name": "S"},
        {"@type": "NewsArticle",
        "headline": "H", "datePublished": "2020-02-03T04:05:06Z", 
        "author": [{"name": "Ann"}, {"name": "Bob"}],
        "publisher": {"name": "P"}}]}</script><meta name=author content="Ann B.">"""
    )
    assert page == About("H", "Ann B.", datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC), "P", None)


def test_a_time_element_dates_a_page_that_says_nothing_else() -> None:
    assert about("<time datetime='2019-05-06'>May</time>").date == datetime(2019, 5, 6, tzinfo=UTC)


def test_a_canonical_url_is_made_absolute_and_must_be_of_the_web() -> None:
    assert (
        about("<link rel=canonical href='/a'>", "https://x.example/b?c").canonical_url
        == "https://x.example/a"
    )
    assert about("<link rel=canonical href='javascript:x'>").canonical_url is None


@pytest.mark.parametrize(
    ("value", "day"),
    [("2021-03-04T05:06:07+09:00", "2021-03-03"), ("2021/3/4", "2021-03-04"),
        ("Thu, 04 Mar 2021 05:06:07 GMT", "2021-03-04"),
     ("0001-01-01", None), ("2021-13-40", None), ("yesterday", None), ("", None),
     ("9999-12-31T23:59:59-23:59", None)],
)  # fmt: skip
def test_dates_are_read_or_left_alone(value: str, day: str | None) -> None:
    date = parse_date(value)
    assert (date.date().isoformat() if date else None) == day


@pytest.mark.parametrize(
    "data", ["[" * 5000, "{", '{"headline": 3, "author": [[1]], "datePublished": {}}', "null", "[1, [2]]"]
)
def test_odd_linked_data_is_no_error(data: str) -> None:
    assert about(f"<title>T</title><script type=application/ld+json>{data}</script>").title == "T"
