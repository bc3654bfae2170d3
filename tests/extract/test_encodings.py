"""Charsets by the Encoding Standard: every index compared; pages that declare theirs well, badly or not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gristmill.pipeline.extract.decoding import encoding_standard
from gristmill.pipeline.extract.decoding.charset import decode
from gristmill.pipeline.extract.decoding.encoding_standard import decode_as, encoding_of, known_encodings

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


POLISH = "„Wyżłobiona rzeka” młyńska mełła żyto; głęboka, źródlana woda, śnieg i lód."
CASES = [
    (POLISH, "cp1250", "windows-1250"),
    (POLISH.replace("„", '"').replace("”", '"'), "iso8859_2", "iso-8859-2"),
    ("Příliš žluťoučký kůň úpěl ďábelské ódy.", "cp1250", "windows-1250"),
    ("Malūnas prie upės malė kviečius ir rugius slėniui, šalia žaliąjų pušų.", "cp1257", "windows-1257"),
    ("Nehir kıyısındaki değirmen bütün vadi için buğday öğütürdü.", "cp1254", "windows-1254"),
    ("Млин біля річки молов пшеницю й жито для всієї долини.", "koi8_u", "koi8-u"),
    ("Мельница у реки молола пшеницу и рожь для всей долины.", "mac_cyrillic", "x-mac-cyrillic"),
    ("Le moulin au bord de la rivière, près du cœur du village: 30 €.", "iso8859_15", "iso-8859-15"),
    ("Le moulin au bord de la rivière, près du cœur du village: 30 €.", "mac_roman", "macintosh"),
    ("Ο μύλος δίπλα στο ποτάμι άλεθε σιτάρι. Άλλοι δεν υπήρχαν.", "iso8859_7", "iso-8859-7"),
    ("Ο μύλος δίπλα στο ποτάμι άλεθε σιτάρι. Άλλοι δεν υπήρχαν.", "cp1253", "windows-1253"),
    ("הטחנה ליד הנהר טחנה חיטה ושיפון לכל העמק, ואבניה עדיין שם.", "cp1255", "windows-1255"),
    ("كانت الطاحونة عند النهر تطحن القمح والشعير لكل الوادي.", "cp1256", "windows-1256"),
    ("โรงสีริมแม่น้ำบดข้าวสาลีและข้าวไรย์ให้ทั้งหุบเขา", "cp874", "windows-874"),
    ("河边的水车为整个山谷磨小麦和黑麦，它的石头至今还在那里。", "gb18030", "gb18030"),
    ("河邊的水車為整個山谷磨小麥和黑麥，它的石頭至今還在那裡。", "big5", "big5"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "codec", "name"), CASES)
@pytest.mark.parametrize("is_page", [False, True])
def test_undeclared_encodings_are_told_plain_and_in_a_page(
    text: str, codec: str, name: str, is_page: bool
) -> None:
    whole = html(text) if is_page else text * 4
    body = whole.encode(codec)
    assert decode(body)[0] == decode_as(body, name)
    assert decode_as(body, name) == whole


@pytest.mark.parametrize("name", ["utf-16le", "utf-16be"])
@pytest.mark.parametrize(
    "text", ["Мельница у реки молола пшеницу и рожь.", JAPANESE, html(JAPANESE), "The café by the mill"]
)
def test_utf16_without_a_mark_is_told_by_its_text(name: str, text: str) -> None:
    assert decode(text.encode(name.replace("le", "-le").replace("be", "-be"))) == (text, name)


def test_signs_alone_are_windows_1252_whatever_statistics_say() -> None:
    # Pages in English whose only bytes beyond ASCII are such; statistics said Thai, Maltese, DOS.
    for text in (
        "\xa9 1997 - 2004 Online",
        "50\xa0\xa0\xa0 pages | \xbb For starters",
        "\xa31 - 10 songs",
        "Begawan \u2013 His",
    ):
        assert decode(html(text).encode("cp1252")) == (html(text), "windows-1252")


def test_a_long_script_before_the_text_does_not_hide_it() -> None:
    page = "<script>" + "var a = 'b'; " * 20_000 + "</script><p>" + POLISH + "</p>"
    assert decode(page.encode("cp1250")) == (page, "windows-1250")


def test_a_few_broken_bytes_leave_undeclared_utf8_what_it_is() -> None:
    body = (POLISH * 5).encode() + b"\xff\xe9" + POLISH.encode()
    assert decode(body)[1] == "utf-8"


def test_bytes_at_random_are_some_encoding_and_none_raises() -> None:
    random = np.random.default_rng(5)
    for size in (0, 1, 2, 3, 17, 600, 20_000):
        text, name = decode(random.integers(0, 256, size, np.uint8).tobytes())
        text.encode()
        assert name in known_encodings()


def strictly(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(encoding_standard._ALIKE))
def test_what_pythons_codecs_decode_fast_is_what_the_standard_decodes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pairs that Python takes, those of a lead byte together, and EUC-JP's triples; few of them alone."""
    codec = encoding_standard._ALIKE[name][0]
    pairs = [[bytes([lead, trail]) for trail in range(0x100)] for lead in range(0x80, 0x100)]
    if name == "euc-jp":
        pairs += [[b"\x8f" + pair for pair in row] for row in pairs]
    bodies = [b" ".join(pair for pair in row if strictly(pair, codec)) for row in pairs]
    bodies += [pair for row in pairs for pair in row[0xA1:0xA4]]
    fast = [decode_as(body, name) for body in bodies]
    monkeypatch.setattr(encoding_standard, "_ALIKE", {})
    slow = [decode_as(body, name) for body in bodies]
    assert [body for body, *texts in zip(bodies, fast, slow, strict=True) if texts[0] != texts[1]] == []
