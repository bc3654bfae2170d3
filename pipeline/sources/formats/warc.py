"""WARC records (WARC, WET and WAT files): from header and block to a record, or to a thing that is no
document."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gristmill.document import text_key
from gristmill.hashing import digest16
from gristmill.pipeline.extract.decoding.charset import decode
from gristmill.pipeline.extract.decoding.encoding_standard import encoding_of
from gristmill.pipeline.sources.archives.archive import Head, archive_reader
from gristmill.pipeline.sources.archives.httpmessage import (
    charset_of,
    media_type,
    parse_headers,
    parse_response,
)
from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.record import NotDocument, Origin, Record
from gristmill.pipeline.sources.wellformed import clean_text

_NOT_DOCUMENT = re.compile(rb"\nWARC-Type: *(warcinfo|request|metadata|revisit)\r*\n", re.IGNORECASE)
# What books may count by name (WARC 1.1 section 5.5): a stranger's names are without number, and may be
# those of outlets (`kept`, `removed`).
_KINDS = ("warcinfo", "request", "metadata", "revisit", "continuation", "conversion")
_MESSAGES = ("application/http", "message/http")  # types of a block with its HTTP head, not of a page
_LENGTH = re.compile(rb"\nContent-Length: *(\d{1,18})\r*\n", re.IGNORECASE)
_RESTART = re.compile(rb"\n\r*\n(WARC/\d\.\d+\r*\n)")
_HEAD_END = re.compile(
    rb"\n\r*\n"
)  # begins with a byte to look for: four times as fast as with "\r*" before it


class Warc:
    """The grammar of WARC 0.17 to 1.1."""

    name = "warc"
    start = re.compile(rb"WARC/\d\.\d+\s")

    def find_restart(self, data: bytes, at: int, end: int | None = None) -> int:
        """The blank line before a record may lie before `at`."""
        end = len(data) if end is None else end
        found = _RESTART.search(data, max(at - 4, 0), end)
        while found and found.start(1) < at:
            found = _RESTART.search(data, found.start(1), end)
        return found.start(1) if found else -1

    def head_end(self, data: bytes, at: int = 0) -> int:
        found = _HEAD_END.search(data, at)
        return found.end() - at if found else -1

    def parse_head(self, head: bytes) -> Head:
        brief = _NOT_DOCUMENT.search(head), _LENGTH.search(head)
        if brief[0] and brief[1]:  # two records of three in a crawl: what else their headers say is not asked
            return Head(brief[0][1].decode().lower(), int(brief[1][1]))
        headers = parse_headers(head)
        length = headers.get("content-length", "")
        if not length.isdecimal():
            raise ValueError(f"Content-Length is {length!r}, not a number" if length else "no Content-Length")
        url = headers.get("warc-target-uri")
        return Head(
            kind=headers.get("warc-type", "unknown").lower(),
            length=int(length),
            url=url.strip("<>") if url else None,  # some versions of wget wrote the brackets of the grammar
            date=headers.get("warc-date"),
            key=headers.get("warc-record-id"),
            headers=headers,
        )

    def make(self, head: Head, block: bytes, origin: Origin) -> Record | NotDocument:
        if head.kind == "conversion":
            return _conversion(head, block, origin)
        if head.kind not in ("response", "resource"):
            return NotDocument(head.kind if head.kind in _KINDS else "unknown", origin, len(block))
        if media_type(head.headers.get("content-type")) == "text/dns" or (head.url or "").startswith("dns:"):
            return NotDocument("dns", origin, len(block))
        is_http = head.kind == "response" or media_type(head.headers.get("content-type")) in _MESSAGES
        return page(head, block, origin, is_http)


def page(head: Head, block: bytes, origin: Origin, is_http: bool) -> Record:
    """Make a record of a stored page, with or without its HTTP head."""
    response = parse_response(block) if is_http else None
    content_type = (
        response.headers.get("content-type")
        if response and (response.status or response.headers)
        else head.headers.get("content-type")
    )
    kind = media_type(content_type)
    if is_http and kind in _MESSAGES:
        content_type = kind = None  # HTTP/0.9 has no head: the first bytes tell what the body is
    body = response.body if response else block
    return Record(
        key=head.key or digest16(head.url or "", head.date or "", body).hex(),
        url=head.url,
        date=head.date,
        origin=origin,
        payload_bytes=len(block),
        payload=body,
        status=response.status if response else None,
        content_type=kind,
        charset=charset_of(content_type),
        content_encoding=response.codings if response else "",
        warc_headers=head.headers,
        http_headers=response.headers if response else {},
        notes=(*_cut_notes(head.headers), *(response.notes if response else ())),
    )


def _cut_notes(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Name why a record is not the whole of what was fetched: its continuations are records of their own,
    counted as such; a crawler may have stopped early (WARC 1.1 sections 5.13 and 5.17)."""
    if not ("warc-segment-number" in headers or "warc-truncated" in headers):
        return ()
    notes = {"warc-segment-number": "first_segment_only", "warc-truncated": "cut_by_crawler"}
    return tuple(note for name, note in notes.items() if headers.get(name))


def _conversion(head: Head, block: bytes, origin: Origin) -> Record | NotDocument:
    """A WET record: its text is made already."""
    if media_type(head.headers.get("content-type")) not in ("text/plain", None):
        return NotDocument("conversion", origin, len(block))
    charset = charset_of(head.headers.get("content-type"))
    if charset and encoding_of(charset) != "utf-8":
        text = decode(block, charset)[0]
    else:
        text = block.decode("utf-8", "replace").removeprefix("\ufeff")
    return Record(
        key=head.key or text_key(head.url, text),
        url=head.url,
        date=head.date,
        origin=origin,
        payload_bytes=len(block),
        text=clean_text(text),
        content_type="text/plain",
        warc_headers=head.headers,
        notes=_cut_notes(head.headers),
    )


WARC = Warc()
_read = archive_reader(WARC)
FORMATS = (
    InputFormat("warc", (".warc", ".wat"), "always", _read),
    InputFormat("wet", (".wet",), "always", _read),
)
