"""Turn the bytes of a page into Unicode: byte order mark, HTTP header, meta prescan, then detection.

The order is the HTML standard's (section 13.2.3.2), with two deviations that real crawls ask for:

- bytes beyond ASCII that are valid UTF-8 are read as UTF-8 whatever was declared: a legacy text is almost
  never valid UTF-8 by accident, and a server's default header often is wrong;
- a page declared UTF-8 of which more than a tenth of the bytes beyond ASCII are no UTF-8 loses that
  declaration.

    text, charset = decode(body, "windows-1251")
"""

from __future__ import annotations

import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from gristmill.pipeline.extract.encoding_standard import decode_as, encoding_of

PRESCAN_BYTES = 16_384  # the standard asks for at least 1,024; browsers read on until the head ends
_DETECT_BYTES = 131_072
_MAX_INVALID_FRACTION = 0.1

_META = re.compile(rb"<!--|<meta[\s/]([^>]{0,2000})", re.IGNORECASE)
_META_CHARSET = re.compile(rb"charset\s*+=\s*+[\"']?\s*+([\w.:\-]{1,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:\-]{1,40})", re.IGNORECASE)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16be"), (b"\xff\xfe", "utf-16le"))

# A meta element's attributes; possessive, so that a stranger's run of letters is read once.
_ATTRIBUTE = re.compile(
    rb"([^\s=>\"'/]++)\s*+(?:=\s*+(?:\"([^\"]*+)\"?|'([^']*+)'?|([^\s>\"']++)))?+", re.IGNORECASE
)
_SHIFTED = frozenset(("iso-2022-jp", "hz"))
_TAG = re.compile(rb"<(?:!|/?[a-zA-Z][a-zA-Z0-9]{0,20}[\s>])")
_JIS_ESCAPE = re.compile(rb"\x1b\$[@B](?:[\x21-\x7e]{2}|[\r\n])+\x1b\([BJ]")


def decode(body: bytes, header_charset: str | None = None) -> tuple[str, str]:
    """Return a page's text and the name of the charset it was read in.

    The text always encodes to UTF-8: no lone surrogates, no byte order mark, no NUL. Undecodable bytes and
    NULs become U+FFFD.
    """
    for bom, name in _BOMS:
        if body.startswith(bom):
            return _clean(decode_as(body[len(bom) :], name)), name
    wide = _wide_without_bom(body) or _wide_by_header(body, header_charset)
    if wide:
        return _clean(decode_as(body, wide)), wide
    text = _strict_utf8(body)
    if text is not None and not (body.isascii() and _may_shift(body, header_charset)):
        return _clean(text), "utf-8"
    labels = (header_charset, _declared_in_page(body))
    declared = [known for label in labels if (known := page_encoding(label))]
    if declared and declared[0] in _SHIFTED:
        return _clean(decode_as(body, declared[0])), declared[0]
    if text is not None:
        if _JIS_ESCAPE.search(body):
            return _clean(decode_as(body, "iso-2022-jp")), "iso-2022-jp"
        return _clean(text), "utf-8"
    for name in declared:
        text = decode_as(body, name)
        if name != "utf-8" or _mostly_valid(text, body):
            return _clean(text), name
    name = detect(body)
    if name == "utf-8" and not _mostly_valid(body.decode("utf-8", "replace"), body):
        name = "windows-1252"
    return _clean(decode_as(body, name)), name


def decode_utf8(body: bytes, header_charset: str | None = None) -> tuple[bytes, str]:
    """Return what `decode` returns with the text as UTF-8: most pages are that already, and are only
    checked."""
    may_be_wide = header_charset is not None and _wide_by_header(body, header_charset) is not None
    if _is_clean_utf8(body) and not may_be_wide and not (body.isascii() and _may_shift(body, header_charset)):
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


def page_encoding(label: str | None) -> str | None:
    """Return the encoding that a declaration means; one of UTF-16 in bytes that read as ASCII means UTF-8."""
    name = (label or "").strip(" \t\r\n\"'").lower()
    if name in ("hz-gb-2312", "hz"):  # the standard no longer reads it; old pages are in it
        return "hz"
    found = encoding_of(name) or encoding_of(_SPELLINGS.get(name))
    return "utf-8" if found and found.startswith("utf-16") else found


_SPELLINGS = {"cp949": "euc-kr", "ms949": "euc-kr", "uhc": "euc-kr", "cp936": "gbk", "cp932": "shift_jis"}


def detect(body: bytes) -> str:
    """Guess the encoding of bytes that are no UTF-8 and declare nothing."""
    name = _east_asian(body[:_DETECT_BYTES])
    if name is None:
        found = detect_encoding(body, max_len=_DETECT_BYTES) or ""  # by Python's name
        name = encoding_of(found) or encoding_of(map_encoding_to_html5(found, fallback_utf8=False))
        name = name or page_encoding(found.replace("_", "-"))
    return name or "windows-1252"


_PAIR = re.compile(rb"[\x81-\xfe][\x41-\x5a\x61-\x7a\x81-\xfe]")


def _east_asian(body: bytes) -> str | None:
    """Tell EUC-KR by where its syllables lie: KS X 1001 has them in rows B0 to C8, and Korean little else.

    Chinese spreads over B0 to F7, about half of it above C8; Japanese is mostly in A4 and A5.
    """
    pairs = _PAIR.findall(body)
    if len(pairs) < 8:
        return None
    beyond_ascii = len(body) - len(body.translate(None, bytes(range(128, 256))))
    syllables = sum(0xB0 <= pair[0] <= 0xC8 and pair[1] >= 0xA1 for pair in pairs)
    extended = sum(pair[0] <= 0xC6 and pair[1] < 0xA1 for pair in pairs)
    if syllables + extended < 0.8 * len(pairs) or syllables < 0.5 * len(pairs):
        return None
    text = decode_as(body, "euc-kr")
    hangul = sum("\uac00" <= char <= "\ud7a3" for char in text)
    return "euc-kr" if hangul * 2 >= 0.7 * beyond_ascii and text.count("\ufffd") * 50 <= hangul else None


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
        label = _declared_by(match.group(1))
        if label:
            return label
    xml = _XML_ENCODING.match(head)
    return xml.group(1).decode("ascii", "ignore") if xml else None


def _declared_by(attributes: bytes) -> str | None:
    """Return what a meta element declares: `charset`, or `http-equiv` with a content type. Other mentions, as
    in a description, declare nothing."""
    said: dict[bytes, bytes] = {}
    for found in _ATTRIBUTE.finditer(attributes):
        name = found.group(1).lower()
        said.setdefault(name, next((value for value in found.groups()[1:] if value is not None), b""))
    if said.get(b"charset", b"").strip():
        return said[b"charset"].strip().decode("latin-1")
    if said.get(b"http-equiv", b"").strip().lower() != b"content-type":
        return None
    label = _META_CHARSET.search(said.get(b"content", b""))
    return label.group(1).decode("ascii", "ignore") if label else None


def _wide_by_header(body: bytes, header_charset: str | None) -> str | None:
    """Believe a header that says UTF-16, unless the bytes plainly are something else."""
    name = encoding_of(header_charset)
    if name not in ("utf-16le", "utf-16be") or len(body) < 2:
        return None
    return None if _TAG.search(body[:PRESCAN_BYTES]) else name


def _wide_without_bom(body: bytes) -> str | None:
    """Recognise UTF-16 without a byte order mark by its zero bytes on one side of markup."""
    head = body[:512]
    half = len(head) // 2
    if half < 8 or b"\0" not in head:
        return None
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd * 10 > half * 7 and even * 10 < half:
        return "utf-16le"
    if even * 10 > half * 7 and odd * 10 < half:
        return "utf-16be"
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
