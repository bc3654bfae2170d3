"""Charsets by the Encoding Standard: every index compared; pages that declare theirs well, badly or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gristmill.pipeline.extract import encoding_standard
from gristmill.pipeline.extract.charset import decode
from gristmill.pipeline.extract.encoding_standard import decode_as, encoding_of, known_encodings

FILE = Path(encoding_standard.__file__).with_name("charset_tables.npz")
TABLES = dict(np.load(FILE))
SINGLE = sorted(name for name, table in TABLES.items() if table.shape == (128,))


def spelled(point: int) -> str:
    return chr(point) if point else "\ufffd"


@pytest.mark.parametrize("name", SINGLE)
def test_each_byte_of_a_single_byte_encoding_is_the_indexs(name: str) -> None:
    wanted = "".join(map(chr, range(128))) + "".join(map(spelled, TABLES[name].tolist()))
    assert decode_as(bytes(range(256)), name) == wanted


def pair(name: str, pointer: int) -> bytes:
    """The two bytes of a pointer, by the standard's encoders."""
    if name == "euc-kr":
        return bytes([pointer // 190 + 0x81, pointer % 190 + 0x41])
    if name == "big5":
        trail = pointer % 157
        return bytes([pointer // 157 + 0x81, trail + (0x40 if trail < 0x3F else 0x62)])
    if name == "gb18030":
        trail = pointer % 190
        return bytes([pointer // 190 + 0x81, trail + (0x40 if trail < 0x3F else 0x41)])
    if name == "shift_jis":
        lead, trail = divmod(pointer, 188)
        return bytes([lead + (0x81 if lead < 0x1F else 0xC1), trail + (0x40 if trail < 0x3F else 0x41)])
    return bytes([pointer // 94 + 0xA1, pointer % 94 + 0xA1])


@pytest.mark.parametrize(
    ("name", "index"),
    [("euc-kr", "euc-kr"), ("big5", "big5"), ("gb18030", "gb18030"), ("gbk", "gb18030"),
     ("shift_jis", "jis0208"), ("euc-jp", "jis0208")],
)  # fmt: skip
def test_each_pair_of_a_double_byte_encoding_is_the_indexs(name: str, index: str) -> None:
    two = {1133: "\xca\u0304", 1135: "\xca\u030c", 1164: "\xea\u0304", 1166: "\xea\u030c"}
    points = TABLES[index].tolist()
    if name == "euc-jp":
        points = points[: 94 * 94]
    wrong = []
    for pointer, point in enumerate(points):
        if name == "shift_jis" and 8836 <= pointer <= 10715:
            point = 0xE000 - 8836 + pointer
        data = pair("gb18030" if name == "gbk" else name, pointer)
        broken = "\ufffd" + (chr(data[1]) if data[1] < 0x80 else "")
        wanted = chr(point) if point else broken
        if name == "big5":
            wanted = two.get(pointer, wanted)
        if decode_as(data, name) != wanted:
            wrong.append((pointer, data, decode_as(data, name), wanted))
    assert not wrong[:5]


def test_the_other_sets_of_japanese_and_chinese_are_the_indexs() -> None:
    for pointer, point in enumerate(TABLES["jis0212"].tolist()):
        assert decode_as(b"\x8f" + pair("euc-jp", pointer), "euc-jp") == spelled(point)
    katakana = bytes(range(0xA1, 0xE0))
    wanted = "".join(chr(byte + 0xFEC0) for byte in katakana)
    assert decode_as(katakana, "shift_jis") == wanted
    assert decode_as(b"".join(b"\x8e%c" % byte for byte in katakana), "euc-jp") == wanted
    for text in ("\u0080", "\u2603 snow", "\U0001f600", "\U0010ffff"):
        assert decode_as(text.encode("gb18030"), "gb18030") == text
    assert decode_as(b"\x84\x31\xa4\x3a\x81", "gb18030") == "\ufffd1\ufffd:\ufffd"
    jis = b"a\x1b$B\x2d\x21\x24\x22\x1b(Jb\\\x1b(I1\x1b(Bc"
    assert decode_as(jis, "iso-2022-jp") == "a\u2460\u3042b\xa5\uff71c"


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        (b"\xad\xa1\xad\xa2", "euc-jp", "\u2460\u2461"),  # NEC row 13, not in Python's euc_jp
        (b"\x80", "gbk", "\u20ac"),
        (b"\xa3\xe1", "big5", "\u20ac"),
        (b"\x87\x40", "shift_jis", "\u2460"),
        (b"\x81\xffA", "big5", "\ufffdA"),
        (b"\x81\x20", "shift_jis", "\ufffd "),
        (b"\xb0", "euc-kr", "\ufffd"),
        (b"\x8f\xa1\xffA", "euc-jp", "\ufffdA"),
    ],
)
def test_places_where_pythons_codecs_differ_follow_the_standard(data: bytes, name: str, text: str) -> None:
    assert decode_as(data, name) == text


def test_labels_are_the_standards() -> None:
    assert encoding_of(" ISO-8859-1 ") == "windows-1252"
    assert encoding_of("ks_c_5601-1987") == "euc-kr"
    assert encoding_of("x-sjis") == "shift_jis"
    assert (
        encoding_of("iso-2022-cn") is encoding_of("utf-7") is encoding_of("idna") is encoding_of("") is None
    )
    assert {"utf-8", "euc-kr", "windows-1258", "x-mac-cyrillic"} <= set(known_encodings())


KOREAN = "물레방아는 강가에서 밀과 호밀을 빻았고, 돌은 아직 거기에 있다. "
JAPANESE = "川のほとりの水車は谷の小麦とライ麦を挽いていました。"


def html(text: str, head: str = "") -> str:
    return f"<html><head>{head}<title>x</title></head><body><p>{text * 4}</p></body></html>"


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [(KOREAN, "euc-kr", "euc-kr"), (KOREAN + "똠뭁", "cp949", "euc-kr"), (JAPANESE, "cp932", "shift_jis"),
     (JAPANESE, "iso2022_jp", "iso-2022-jp"), (JAPANESE, "euc_jp", "euc-jp")],
)  # fmt: skip
def test_undeclared_encodings_of_east_asia_are_told(text: str, codec: str, name: str) -> None:
    assert decode(html(text).encode(codec)) == (html(text), name)


def test_a_header_that_says_utf16_is_believed_where_it_can_be() -> None:
    text = JAPANESE * 3  # no zero bytes to tell it by
    for name, codec in (("utf-16le", "utf-16-le"), ("UTF-16BE", "utf-16-be"), ("utf-16", "utf-16-le")):
        assert decode(text.encode(codec), name) == (text, encoding_of(name))
    assert decode(html("caf\xe9").encode(), "utf-16") == (html("caf\xe9"), "utf-8")


def test_only_a_real_declaration_declares() -> None:
    russian = "Мельница молола пшеницу и рожь. "
    said = {
        '<meta name="description" content="how to say charset=koi8-r">': "windows-1251",
        '<meta property=og:title content="charset=koi8-r"><meta charset=windows-1251>': "windows-1251",
        '<!-- <meta charset="koi8-r"> --><meta charset="windows-1251">': "windows-1251",
        "<META CONTENT='text/html; charset=windows-1251' HTTP-EQUIV=Content-Type>": "windows-1251",
        "<meta http-equiv=content-type content='x;charset=\"windows-1251\"'>": "windows-1251",
        "<meta data-charset=koi8-r name=a><meta charset=windows-1251>": "windows-1251",
        "<meta charset = windows-1251 />": "windows-1251",
    }
    for head, name in said.items():
        assert decode(html(russian, head).encode("cp1251")) == (html(russian, head), name), head


def test_the_tables_are_those_that_are_named() -> None:
    assert len(TABLES["labels"]) > 220
    assert json.dumps(sorted(SINGLE)[:2]) == '["ibm866", "iso-8859-10"]'
