"""Turn the bytes of a page into Unicode: byte order mark, HTTP header, meta prescan, then detection.

The order is the HTML standard's (section 13.2.3.2), with two deviations that real crawls ask for:

- bytes beyond ASCII that are valid UTF-8 are read as UTF-8 whatever was declared: a legacy text is almost
  never valid UTF-8 by accident, and a server's default header often is wrong;
- a page declared UTF-8 of which more than a tenth of the bytes beyond ASCII are no UTF-8 loses that
  declaration.

    text, charset = decode(body, "windows-1251")
"""

from __future__ import annotations

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

PRESCAN_BYTES = 16_384  # the standard asks for at least 1,024; browsers read on until the head ends
_DETECT_BYTES = 131_072
_MAX_INVALID_FRACTION = 0.1

_META = re.compile(rb"<!--|<meta[\s/]([^>]{0,2000})", re.IGNORECASE)
_META_CHARSET = re.compile(rb"charset\s*+=\s*+[\"']?\s*+([\w.:\-]{1,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:\-]{1,40})", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))

# The standard reads these labels as their larger relatives; Python's codecs take the names literally.
_LARGER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
_UNMAPPED_LABELS = {"x-mac-cyrillic": "mac_cyrillic", "x-mac-ukrainian": "mac_cyrillic", "x-euc-jp": "euc_jp"}
# The encodings of the standard by their Python names; others (UTF-7, punycode, ...) are no charset of a page.
_TEXT_CODECS = frozenset(
    [
        "utf-8",
        "ibm866",
        "cp866",
        "iso8859-2",
        "iso8859-3",
        "iso8859-4",
        "iso8859-5",
        "iso8859-6",
        "iso8859-7",
        "iso8859-8",
        "iso8859-10",
        "iso8859-13",
        "iso8859-14",
        "iso8859-15",
        "iso8859-16",
        "koi8-r",
        "koi8-u",
        "mac-roman",
        "mac-cyrillic",
        "cp874",
        "cp1250",
        "cp1251",
        "cp1252",
        "cp1253",
        "cp1254",
        "cp1255",
        "cp1256",
        "cp1257",
        "cp1258",
        "gb18030",
        "big5hkscs",
        "euc_jp",
        "iso2022_jp",
        "cp932",
        "cp949",
        "hz",
    ]
)

_SHIFTED = frozenset(("iso2022_jp", "hz"))


def decode(body: bytes, header_charset: str | None = None) -> tuple[str, str]:
    """Return a page's text and the name of the charset it was read in.

    The text always encodes to UTF-8: no lone surrogates, no byte order mark, no NUL. Undecodable bytes and
    NULs become U+FFFD.
    """
    for bom, name in _BOMS:
        if body.startswith(bom):
            return _clean(body[len(bom) :].decode(name, "replace")), name
    wide = _wide_without_bom(body)
    if wide:
        return _clean(body.decode(wide, "replace")), wide
    text = _strict_utf8(body)
    if text is not None and not (body.isascii() and _may_shift(body, header_charset)):
        return _clean(text), "utf-8"
    declared = [
        codec for label in (header_charset, _declared_in_page(body)) if (codec := python_codec(label))
    ]
    if declared and declared[0] in _SHIFTED:
        return _clean(body.decode(declared[0], "replace")), declared[0]
    if text is not None:
        return _clean(text), "utf-8"
    for name in declared:
        text = body.decode(name, "replace")
        if name != "utf-8" or _mostly_valid(text, body):
            return _clean(text), name
    name = python_codec(detect_encoding(body, max_len=_DETECT_BYTES)) or "cp1252"
    if name == "utf-8" and not _mostly_valid(body.decode("utf-8", "replace"), body):
        name = "cp1252"
    return _clean(body.decode(name, "replace")), name


def decode_utf8(body: bytes, header_charset: str | None = None) -> tuple[bytes, str]:
    """Return what `decode` returns with the text as UTF-8: most pages are that already, and are only
    checked."""
    if _is_clean_utf8(body) and not (body.isascii() and _may_shift(body, header_charset)):
        return body, "utf-8"
    text, charset = decode(body, header_charset)
    return text.encode(), charset


def _is_clean_utf8(body: bytes) -> bool:
    """Tell whether a body is valid UTF-8 without a byte order mark or NUL."""
    if b"\0" in body or body.startswith(_BOMS[0][0]):
        return False
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _may_shift(body: bytes, header_charset: str | None) -> bool:
    """Tell whether a body of ASCII alone may be in one of the charsets that shift by seven-bit sequences."""
    if b"\x1b" in body:
        return True
    named = "hz" in (header_charset or "").lower() or b"hz" in body[:PRESCAN_BYTES].lower()
    return named and b"~{" in body


def python_codec(label: str | None) -> str | None:
    """Return the Python codec for a charset label of the web, None for an unknown or unusable one."""
    if not label:
        return None
    label = label.strip().strip("\"'").lower()
    if label.startswith("utf-16"):  # readable as ASCII, so it is not what it says
        return "utf-8"
    label = _UNMAPPED_LABELS.get(label) or map_encoding_to_html5(label, fallback_utf8=False) or label
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return None
    name = _LARGER.get(name, name)
    return name if name in _TEXT_CODECS else None


def _declared_in_page(body: bytes) -> str | None:
    """Return the label in the page's own meta element or XML declaration, comments skipped."""
    head = body[:PRESCAN_BYTES]
    position = 0
    while match := _META.search(head, position):
        if match.group() == b"<!--":
            end = head.find(b"-->", match.end())
            if end < 0:
                break
            position = end
            continue
        position = match.end()
        label = _META_CHARSET.search(match.group(1))
        if label:
            return label.group(1).decode("ascii", "ignore")
    xml = _XML_ENCODING.match(head)
    return xml.group(1).decode("ascii", "ignore") if xml else None


def _wide_without_bom(body: bytes) -> str | None:
    """Recognise UTF-16 without a byte order mark by its zero bytes on one side of markup."""
    head = body[:512]
    half = len(head) // 2
    if half < 8 or b"\0" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd * 10 > half * 7 and even * 10 < half:
        return "utf-16-le"
    if even * 10 > half * 7 and odd * 10 < half:
        return "utf-16-be"
    return None


def _strict_utf8(body: bytes) -> str | None:
    """Decode valid UTF-8, allowing for a last character that was cut off; None when it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        if error.start < len(body) - 3 or error.start == 0 or error.reason != "unexpected end of data":
            return None
        text = body[: error.start].decode()
        return None if text.isascii() else text


def _mostly_valid(text: str, body: bytes) -> bool:
    """Tell whether few of the bytes beyond ASCII failed to decode as UTF-8."""
    beyond_ascii = len(body) - len(body.translate(None, bytes(range(128, 256))))
    return text.count("\ufffd") <= _MAX_INVALID_FRACTION * beyond_ascii


def _clean(text: str) -> str:
    return text.replace("\0", "\ufffd") if "\0" in text else text
