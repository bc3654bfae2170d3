"""HTTP messages as archives store them: tolerant of every header that crawlers have written."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEAD_END = re.compile(
    rb"\n\r*\n"
)  # begins with a byte to look for: four times as fast as with "\r*" before it
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
# Runs of blanks are taken whole (possessive): two that could share one would be tried at every division.
_CHARSET = re.compile(r"charset\s*+=\s*+[\"']?\s*+([^\s\"';,]+)", re.IGNORECASE)


@dataclass(slots=True)
class Response:
    status: int | None
    headers: dict[str, str]  # names in lower case; of a repeated header the first
    body: bytes


def parse_response(block: bytes) -> Response:
    """Split a block into status, headers and body; a block that is no HTTP message is all body."""
    status = _STATUS.match(block)
    if not status:
        return Response(None, {}, block)
    end = _HEAD_END.search(block)
    if not end:  # a response without a body, its last line unfinished
        return Response(int(status[1]), parse_headers(block), b"")
    headers = parse_headers(block[: end.start()])
    body = block[end.end() :]
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = dechunk(body)
    return Response(int(status[1]), headers, body)


def parse_headers(head: bytes) -> dict[str, str]:
    """Parse `Name: value` lines after the first; folded lines join, what has no colon is passed over."""
    headers: dict[str, list[str]] = {}
    name = ""
    for line in text_of(head).split("\n")[1:]:
        if line and line[0] in " \t" and name:
            headers[name].append(line.strip())
            continue
        key, colon, value = line.partition(":")
        if colon and (key := key.strip().lower()) not in headers:
            name = key
            headers[name] = [value.strip()]
        else:
            name = ""
    return {name: " ".join(parts) for name, parts in headers.items()}


def text_of(head: bytes) -> str:
    """Decode what a crawler wrote: UTF-8, else Latin-1."""
    try:
        return head.decode()
    except UnicodeDecodeError:
        return head.decode("latin-1")


def media_type(value: str | None) -> str | None:
    """Return `text/html` of `Text/HTML; charset=x`."""
    return (value or "").partition(";")[0].strip().lower() or None


def charset_of(value: str | None) -> str | None:
    """Return the charset parameter of a content type."""
    found = _CHARSET.search(value or "")
    return found[1] if found else None


def dechunk(body: bytes) -> bytes:
    """Undo chunked transfer coding; a body that only claims it is returned as it is, one that breaks off as
    far as it goes."""
    pieces, at = [], 0
    while size_line := _CHUNK_SIZE.match(body, at):
        size = int(size_line[1], 16)
        if size == 0:
            break
        piece = body[size_line.end() : size_line.end() + size]
        pieces.append(piece)
        at = size_line.end() + size
        if len(piece) < size:
            break
        if body[at : at + 1] == b"\r":
            at += 1
        if body[at : at + 1] == b"\n":
            at += 1
    else:
        if not pieces:
            return body
        pieces.append(body[at:])  # chunks that end in something else: keep it, it is text
    return b"".join(pieces)
