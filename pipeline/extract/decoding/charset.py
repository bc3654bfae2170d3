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
import sys
from functools import lru_cache

from gristmill.pipeline.extract.decoding.encoding_standard import decode_as, encoding_of
from gristmill.pipeline.extract.decoding.undeclared import SPELLINGS, TAG, detect, wide_kana, wide_without_bom

PRESCAN_BYTES = 16_384  # the standard asks for at least 1,024; browsers read on until the head ends
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
_JIS_ESCAPE = re.compile(rb"\x1b\$[@B](?:[\x21-\x7e]{2}|[\r\n])+\x1b\([BJ]")


def decode(body: bytes, header_charset: str | None = None) -> tuple[str, str]:
    """Return a page's text and the name of the charset it was read in.

    The text always encodes to UTF-8: no lone surrogates, no byte order mark, no NUL. Undecodable bytes and
    NULs become U+FFFD.
    """
    for bom, name in _BOMS:
        if body.startswith(bom):
            return _clean(decode_as(body[len(bom) :], name)), name
    wide = wide_without_bom(body) or _wide_by_header(body, header_charset)
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
    wide = wide_kana(body)
    if wide:
        return _clean(decode_as(body, wide)), wide
    if not declared or declared[0] != "utf-8":
        text = body.decode("utf-8", "replace")
        if _mostly_valid(text, body):
            return _clean(text), "utf-8"
    name = detect(body)
    return _clean(decode_as(body, name)), name


def is_declared(body: bytes, header_charset: str | None, charset: str) -> bool:
    """Tell whether a page was read in the charset that its mark, its header or it itself names."""
    if any(body.startswith(bom) for bom, _ in _BOMS) or encoding_of(header_charset) == charset:
        return True
    return charset in (page_encoding(header_charset), page_encoding(_declared_in_page(body)))


def decode_utf8(body: bytes, header_charset: str | None = None) -> tuple[bytes, str]:
    """Return what `decode` returns with the text as UTF-8: most pages are that already, and are only
    checked."""
    may_be_wide = (
        header_charset is not None
        and _may_be_wide(header_charset[:40])
        and _wide_by_header(body, header_charset) is not None
    )
    if _is_clean_utf8(body) and not may_be_wide and not (body.isascii() and _may_shift(body, header_charset)):
        return body, "utf-8"
    text, charset = decode(body, header_charset)
    return text.encode(), charset


def _is_clean_utf8(body: bytes) -> bool:
    """Tell whether a body is valid UTF-8 without a byte order mark or NUL.

    By the compiled check where this process has it, as every one has that extracts by kernels. It is not
    loaded here: a library that finds no memory under a page's limit may wait for it for ever.
    """
    if body.startswith(_BOMS[0][0]):
        return False
    if compiled := sys.modules.get("gristmill.text.utf8"):
        return bool(compiled.is_utf8(body))
    if b"\0" in body:
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
    found = encoding_of(name) or encoding_of(SPELLINGS.get(name))
    return "utf-8" if found and found.startswith("utf-16") else found


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
    if b"charset" not in attributes.lower():
        return None
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


@lru_cache(maxsize=256)
def _may_be_wide(label: str) -> bool:
    """Tell whether a label, or the beginning of one, is longer than the standard's or means UTF-16."""
    return len(label) == 40 or (encoding_of(label) or "").startswith("utf-16")


def _wide_by_header(body: bytes, header_charset: str | None) -> str | None:
    """Believe a header that says UTF-16, unless the bytes plainly are something else."""
    name = encoding_of(header_charset)
    if name not in ("utf-16le", "utf-16be") or len(body) < 2:
        return None
    return None if TAG.search(body[:PRESCAN_BYTES]) else name


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
