"""Chunked transfer coding (RFC 9112 section 7.1) as archives store it: whole, broken off, unannounced, or
within another coding."""

from __future__ import annotations

import re

_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
# Behind the last chunk: fields of a trailer (section 7.1.2), blank lines.
_TRAILER = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n]*+\r?\n)*+\s*+")
_HEX_DIGITS = frozenset(bytes([digit]) for digit in b"0123456789abcdefABCDEF")
_TELLING_BYTES = 16  # of a first chunk: a list of numbers hardly has a line of just that length behind one

TRUNCATED, DAMAGED = "chunks: truncated", "chunks: damaged"


def dechunk(body: bytes) -> tuple[bytes, str | None]:
    """Undo the chunks that a header speaks of, and say what was wrong with them; a body that only claims them
    is returned as it is, one that breaks off as far as it goes."""
    at = 2 if body.startswith(b"\r\n") and _SIZE.match(body, 2) else 0
    pieces: list[bytes] = []
    damage = TRUNCATED
    while size_line := _SIZE.match(body, at):
        size = int(size_line[1], 16)
        if size == 0:
            return b"".join(pieces), None
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
            return body, None
        if rest := body[at:]:
            pieces.append(rest)  # chunks that end in something else: it is text
            damage = DAMAGED
    return b"".join(pieces), damage


def may_be_chunks(body: bytes) -> bool:
    """Say whether a body begins like a chunk."""
    return body[:1] in _HEX_DIGITS and _SIZE.match(body) is not None


def dechunk_unannounced(body: bytes) -> tuple[bytes, str | None]:
    """Undo chunks that no header speaks of, or a second layer of them: where they reach to the body's end and
    the last is empty; else where a first one ends just where the next begins, and what is wrong is said."""
    first = _SIZE.match(body)
    if first is None:
        return body, None
    end = first.end() + int(first[1], 16)
    if _reaches_end(body):
        return dechunk(body)
    if end - first.end() < _TELLING_BYTES or body[end : end + 2] != b"\r\n" or not _SIZE.match(body, end + 2):
        return body, None
    joined, damage = dechunk(body)
    return joined, damage or DAMAGED


def _reaches_end(body: bytes) -> bool:
    start = at = 0
    while size_line := _SIZE.match(body, at):
        size, start, at = int(size_line[1], 16), at, size_line.end()
        if size == 0:
            return _TRAILER.fullmatch(body, at) is not None if start else not body[at:].strip()
        at += size
        if body[at : at + 2] != b"\r\n":
            break
        at += 2
    return False
