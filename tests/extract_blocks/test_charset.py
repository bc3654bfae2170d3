from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipeline.extract.decoding.charset import decode, decode_utf8, page_encoding

RUSSIAN = "<html><body>Все счастливые семьи похожи друг на друга</body></html>"


def test_a_byte_order_mark_wins_over_the_header() -> None:
    assert decode(b"\xef\xbb\xbf" + RUSSIAN.encode(), "windows-1251") == (RUSSIAN, "utf-8")
    assert decode(b"\xff\xfe" + RUSSIAN.encode("utf-16-le"), "utf-8") == (RUSSIAN, "utf-16le")


def test_the_header_wins_over_the_meta_element() -> None:
    page = "<meta charset=koi8-r>" + RUSSIAN
    assert decode(page.encode("cp1251"), "windows-1251") == (page, "windows-1251")


@pytest.mark.parametrize(
    "meta",
    [
        "<meta charset='koi8-r'>",
        '<META http-equiv="Content-Type" content="text/html; charset=KOI8-R">',
        "<!-- <meta charset=utf-8> --><meta charset=koi8-r>",
        '<?xml version="1.0" encoding="koi8-r"?>',
    ],
)
def test_the_page_may_name_its_charset_itself(meta: str) -> None:
    assert decode((meta + RUSSIAN).encode("koi8-r"), None) == (meta + RUSSIAN, "koi8-r")


def test_an_undeclared_legacy_charset_is_detected() -> None:
    page = RUSSIAN * 20
    assert decode(page.encode("cp1251"), None) == (page, "windows-1251")
    page = "<p>吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。</p>" * 10
    assert decode(page.encode("euc-jp"), None)[0] == page


def test_valid_utf8_beyond_ascii_is_utf8_whatever_was_declared() -> None:
    assert decode(RUSSIAN.encode(), "iso-8859-1") == (RUSSIAN, "utf-8")


def test_a_wrong_utf8_declaration_is_dropped_but_a_few_bad_bytes_are_not() -> None:
    page = "<meta charset=utf-8>" + RUSSIAN * 20
    assert decode(page.encode("cp1251"), "utf-8")[0] == page
    text, charset = decode(RUSSIAN.encode() * 20 + b"\xff\xfe", "utf-8")
    assert (text, charset) == (RUSSIAN * 20 + "\ufffd\ufffd", "utf-8")


def test_a_character_cut_off_at_the_end_is_dropped() -> None:
    assert decode("über é".encode()[:-1], None) == ("über ", "utf-8")


def test_seven_bit_japanese_is_not_taken_for_ascii() -> None:
    page = "<p>吾輩は猫である</p>"
    assert decode(page.encode("iso2022_jp"), "iso-2022-jp") == (page, "iso-2022-jp")


def test_utf16_without_a_byte_order_mark_is_recognised() -> None:
    assert decode(("<html>" * 30).encode("utf-16-be"), None) == ("<html>" * 30, "utf-16be")


def test_nul_becomes_the_replacement_character() -> None:
    assert decode(b"<p>a\0b</p>" + b" " * 100, "utf-8")[0].startswith("<p>a\ufffdb</p>")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("latin1", "windows-1252"),
        ("gb2312", "gbk"),
        ("x-sjis", "shift_jis"),
        ("euc-kr", "euc-kr"),
        ("utf-7", None),
        ("hex", None),
        ("?", None),
    ],
)
def test_labels_are_read_as_browsers_read_them(label: str, name: str | None) -> None:
    assert page_encoding(label) == name


@settings(deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from(
        [None, "utf-8", "utf-16", "gb18030", "shift_jis", "iso-2022-jp", "hz", "big5", "euc-kr", "x"]
    ),
)
def test_any_bytes_decode_to_text_that_encodes(body: bytes, header: str | None) -> None:
    text, charset = decode(body, header)
    assert "\0" not in text
    assert decode_utf8(body, header) == (text.encode(), charset)


@pytest.mark.parametrize(
    "body",
    [
        RUSSIAN.encode(),
        b"<p>ascii only",
        b"\xef\xbb\xbf<p>a",
        b"<p>a\0b",
        "é".encode() * 9 + b"\xc3",
        b"<meta charset=hz-gb-2312>~{<:Ky2;S{~}",
        b"\x1b$B!!\x1b(B",
    ],
)
@pytest.mark.parametrize("header", [None, "hz-gb-2312", "iso-2022-jp", "windows-1251"])
def test_decoding_to_utf8_is_decoding_and_encoding(body: bytes, header: str | None) -> None:
    text, charset = decode(body, header)
    assert decode_utf8(body, header) == (text.encode(), charset)


def test_spanish_in_mac_os_roman_is_told_by_accents_that_no_word_has_as_signs() -> None:
    # Of the Universal Declaration of Human Rights: a dagger inside a word, a dash before its last n.
    text = "Todos los seres, dotados como est\u00e1n de raz\u00f3n y conciencia, deben comportarse bien."
    assert decode(text.encode("mac_roman"))[0] == text
    note = "It was a long\u2014and cold\u2014night\u2020 in the mill\u2019s cellar."
    assert decode(note.encode("cp1252"))[0] == note
