"""Personal data is what the published patterns find in the whole text, to the byte, whatever finds it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.filters.options import PiiSettings
from gristmill.filters.pii import EMAIL, IP, KINDS, PHONE, _is_public, find, pii_block
from tests.support.filter_documents import documents

REPLACED = {kind: ("X", "Y") for kind in KINDS}
ADDRESSES = [
    "a@b.c@d.e",
    "..a@b.co",
    "a..b@c.de",
    "x@[1.2.3.4]",
    "x@[1.2.3.ab:]",
    "éa@b.co",
    "é!a@b.co",
    "é-a@b.co",
    "٣a@b.co",
    "_é_@b.co",
    "{a}@b.co",
    "!!@b.co",
    "a@b",
    "@@",
    "a.@b.co",
    "a@b.co.a@c.de",
    "a@b.co-a@c.de",
    "a@-b.co",
    "a@b-.co",
    "a" * 400 + "@" + "b" * 400 + ".co",
]
NUMBERS = [
    "1.2.3.4",
    "1.2.3.4.5.6.7.8",
    "8.8.8.8.",
    "256.8.8.8",
    "1.8.8.8.888",
    "08.8.8.8",
    "8..8.8.8",
    " 212-555-1234",
    "\x1c(212) 555.1234",
    "\u2003212 - . 5551234",
    " ٢١٢-٥٥٥-١٢٣٤",
    " 2125551234567890",
    "x212-555-1234",
]


def published(text: str) -> list[tuple[int, int, int, str]]:
    """The patterns over the whole text, as bytes."""
    found = []
    for kind, pattern in zip(KINDS, (EMAIL, IP, PHONE), strict=True):
        matches = [m for m in pattern.finditer(text) if pattern is not IP or _is_public(m.group())]
        for number, match in enumerate(matches):
            start, end = (len(text[:place].encode()) for place in match.span())
            found.append((start, end, KINDS.index(kind), "XY"[number % 2]))
    kept: list[tuple[int, int, int, str]] = []
    for span in sorted(found):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


@pytest.mark.parametrize("text", [*ADDRESSES, *NUMBERS, " ".join(ADDRESSES + NUMBERS)])
def test_odd_addresses_and_numbers_are_found_as_the_patterns_find_them(text: str) -> None:
    assert find(text.encode(), REPLACED) == published(text)


@settings(max_examples=500, deadline=None)
@given(st.text("ab1!-._@[]: é٣\n(2", max_size=40))
def test_any_text_is_searched_as_the_patterns_search_it(text: str) -> None:
    assert find(text.encode(), REPLACED) == published(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*ADDRESSES, *NUMBERS, " ", "é", "\n", "12"]), max_size=12).map("".join))
def test_texts_of_odd_pieces_are_searched_as_the_patterns_search_them(text: str) -> None:
    assert find(text.encode(), REPLACED) == published(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("ab1.@ é\n(2345-", max_size=30), max_size=6))
def test_what_the_scan_passes_over_holds_nothing(texts: list[str]) -> None:
    from gristmill.filters.block import Batch

    block = pii_block(PiiSettings(phone=True))
    measured = block.measure(Batch(documents(texts)))
    assert measured.signals["matches"].tolist() == [len(published(text)) for text in texts]


def test_real_texts_are_replaced_as_before(real_texts: list[str]) -> None:
    for text in real_texts[::4]:
        if re.search(r"@|\d\.\d+\.\d|\d{4}", text):
            assert find(text.encode(), REPLACED) == published(text), text[:80]
