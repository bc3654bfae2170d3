"""HTTP messages as archives store them: tolerant of every header that crawlers have written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gristmill.pipeline.sources.archives.chunks import (
    DAMAGED,
    TRUNCATED,
    dechunk,
    dechunk_unannounced,
    may_be_chunks,
)

# Begins with a byte to look for: four times as fast as with "\r*" before it.
_HEAD_END = re.compile(rb"\n\r*\n")
# HTTP/2 has no status line: writers make one up.
_STATUS = re.compile(
    rb"[\r\n]{0,4}(?:(?:HTTP(?:/\d{1,2}(?:\.\d{1,2})?)?|ICY|h[23])[ \t]+|:status:[ \t]*)(\d{3})",
    re.IGNORECASE,
)
_NO_CODE = re.compile(rb"[\r\n]{0,4}HTTP/\d[^\r\n]*\r*\n", re.IGNORECASE)
_HEADER_LINE = re.compile(rb"(?i:content-type|server|date|content-length|last-modified|x-[\w-]{1,40}):[ \t]")
# Runs of blanks are taken whole (possessive): two that could share one would be tried at every division.
_CHARSET = re.compile(r"charset\s*+=\s*+[\"']?\s*+([^\s\"';,]+)", re.IGNORECASE)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
_MEDIA_TYPE = re.compile(rf'[\s"]*+({_TOKEN}/{_TOKEN})')
_LISTS = (
    "content-encoding",
    "transfer-encoding",
    "content-type",
    "x-robots-tag",
    "link",
)  # of these, repeated lines are one list
_UNKNOWN_TYPES = ("unknown/unknown", "application/unknown", "*/*")  # MIME Sniffing, section 7
_MAX_HEADS = 4
_CHUNK_NOTES = {TRUNCATED: "chunks_break_off", DAMAGED: "chunks_damaged"}


@dataclass(slots=True)
class Response:
    """A stored answer; `headers` have names in lower case, of a repeated one the first, lists joined."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    notes: tuple[str, ...] = ()  # how the body is not the whole one

    @property
    def codings(self) -> str:
        """What lies on the body: content codings, then what the transfer added but for the chunks."""
        if not ("content-encoding" in self.headers or "transfer-encoding" in self.headers):
            return ""
        transfer = self.headers.get("transfer-encoding", "").lower().split(",")
        added = [name.strip() for name in transfer if name.strip() not in ("", "chunked", "identity")]
        return ", ".join([*filter(None, [self.headers.get("content-encoding", "").strip().lower()]), *added])


def parse_response(block: bytes) -> Response:
    """Split a block into status, headers and body; a block that is no HTTP message is all body.

    An interim answer (`100 Continue`, a proxy's `200 Connection established`) before the real one is stepped
    over; headers without a status line are headers.
    """
    response = _parse_head(block)
    for _ in range(_MAX_HEADS):
        interim = response.status is not None and (
            100 <= response.status < 200
            or not ("content-type" in response.headers or "content-length" in response.headers)
        )
        if not interim or not _STATUS.match(response.body):
            break
        response = _parse_head(response.body)
    if "chunked" in response.headers.get("transfer-encoding", "").lower():
        response.body, damage = dechunk(response.body)
        response.notes = (_CHUNK_NOTES[damage],) if damage else ()
    elif _is_short(response):
        response.notes = ("shorter_than_promised",)
    if response.status is not None and may_be_chunks(response.body):
        response.body, damage = dechunk_unannounced(response.body)
        if damage and _CHUNK_NOTES[damage] not in response.notes:
            response.notes = (*response.notes, _CHUNK_NOTES[damage])
    return response


def _is_short(response: Response) -> bool:
    """Say whether a body has fewer bytes than its header promises. (One stored decoded, under the length of
    the coded one, has more.)"""
    promised = response.headers.get("content-length", "")
    return promised.isdecimal() and len(promised) < 19 and len(response.body) < int(promised)


def _parse_head(block: bytes) -> Response:
    status = _STATUS.match(block)
    if not status and (nameless := _NO_CODE.match(block)):
        block = block[nameless.end() :]
    if not status and not _HEADER_LINE.match(block):
        return Response(None, {}, block)
    number = int(status[1]) if status else None
    start = status.start(1) if status else 0
    end = _HEAD_END.search(block, start)
    if not end:  # a response without a body, its last line unfinished
        return Response(number, parse_headers(block[start:]), b"") if status else Response(None, {}, block)
    head = block[start : end.start()] if status else b"\n" + block[: end.start()]
    return Response(number, parse_headers(head), block[end.end() :])


def parse_headers(head: bytes) -> dict[str, str]:
    """Parse `Name: value` lines after the first; folded lines join, what has no colon is passed over."""
    text = text_of(head)
    headers: dict[str, str] = {}
    parts: dict[str, list[str]] = {}  # of values over several lines: joined once, however many there are
    lines = text.split("\n")[1:]
    if "\n " in text or "\n\t" in text:
        _parse_folded(lines, headers, parts)
    else:
        for line in lines:
            key, colon, value = line.partition(":")
            if not colon:
                continue
            name = key.strip().lower()
            if name not in headers:
                headers[name] = value.strip()
            elif name in _LISTS:
                parts.setdefault(name, [headers[name]]).extend((",", value.strip()))
    for name, several in parts.items():
        headers[name] = " ".join(several).strip()
    return headers


def _parse_folded(lines: list[str], headers: dict[str, str], parts: dict[str, list[str]]) -> None:
    """The same of lines some of which go on over the next ones; few heads have any."""
    name, kept = "", False
    for line in lines:
        if line and line[0] in " \t" and name:
            if kept:
                parts.setdefault(name, [headers[name]]).append(line.strip())
            continue
        key, colon, value = line.partition(":")
        if not colon:
            name, kept = "", False
            continue
        name = key.strip().lower()
        kept = name not in headers
        if kept:
            headers[name] = value.strip()
        elif name in _LISTS:
            kept = True
            parts.setdefault(name, [headers[name]]).extend((",", value.strip()))


def text_of(head: bytes) -> str:
    """Decode what a crawler wrote: UTF-8, else Latin-1."""
    try:
        return head.decode()
    except UnicodeDecodeError:
        return head.decode("latin-1")


def media_type(value: str | None) -> str | None:
    """Return `text/html` of `Text/HTML; charset=x`; None where nothing is said, or nothing that means
    something.

    Of several types, in one line or more, the last counts (Fetch, "extract a MIME type"); what stands between
    a type and its parameters need not be a semicolon, as for browsers.
    """
    if value is None:
        return None
    return _last_type(value) if len(value) > _REMEMBERED_CHARACTERS else _known_type(value)


def _last_type(value: str) -> str | None:
    found = None
    for part in value.split(","):
        match = _MEDIA_TYPE.match(part)
        if match and match[1].lower() not in _UNKNOWN_TYPES:
            found = match[1].lower()
    return found


_REMEMBERED_CHARACTERS = 200
_known_type = lru_cache(maxsize=4096)(_last_type)  # a crawl has few


def charset_of(value: str | None) -> str | None:
    """Return the charset parameter of a content type, of several the last."""
    if not value or "=" not in value:
        return None
    return _last_charset(value) if len(value) > _REMEMBERED_CHARACTERS else _known_charset(value)


def _last_charset(value: str) -> str | None:
    found = None
    for part in value.split(","):
        match = _CHARSET.search(part)
        found = match[1] if match else found
    return found


_known_charset = lru_cache(maxsize=4096)(_last_charset)
