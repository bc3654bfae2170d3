"""Content codings of stored bodies: undone where they are really there, to their end, and never beyond a
bound.

What a header says is a hint: bodies are stored decoded under the old header, coded twice, or under another
coding's name. So a body that begins with gzip's or zstd's signature is inflated whatever was said, and again
while it still does; one that begins with bytes that no text has is tried as deflate and brotli, which have no
signature. All data before a damage is kept, and the damage is said.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gristmill.pipeline.extract.decoding.sniffing import binary_type, has_binary_bytes, looks_like_html
from gristmill.pipeline.sources.archives.chunks import dechunk_unannounced, may_be_chunks

_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
_BEFORE_GZIP = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n\t ]{0,4}(?=\x1f\x8b\x08)")
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)  # zstd's frames without data, RFC 8878 3.1.2
# Names apart, without parameters: `br;q=1.0`, `"gzip"`, `br utf-8` were all sent.
_NAMES = re.compile(r"[^\s,;\"']+")
_MAX_LAYERS = 4
_NAMES_CHARACTERS = 200
_PIECE_BYTES = 1 << 14
_ZSTD_PIECE_BYTES = 1 << 10  # a block of four bytes can become 128 KiB
_MAX_STEP_BYTES = 1 << 20  # that one step of brotli may give: ten bytes can become 16 MiB


class TooLarge(Exception):
    """The body inflates beyond the bound."""


@dataclass(slots=True)
class Decoded:
    """A body without its codings; `damage` says what was wrong with one of them."""

    body: bytes
    damage: str | None = None
    is_inflated: bool = False


def decode_content(body: bytes, encoding: str, max_bytes: int) -> Decoded:
    """Undo `gzip`, `deflate`, `br` and `zstd`, the last applied first, then whatever still is compressed."""
    found = Decoded(body)
    names = _NAMES.findall(encoding[:_NAMES_CHARACTERS].lower()) if encoding else []
    for name in reversed(names[-_MAX_LAYERS:]):
        if _undo_signed(found, max_bytes):
            continue
        plain = found.body.lstrip()[:1] == b"<"
        if name in ("deflate", "x-deflate") and not plain:
            _try(found, _deflate, max_bytes)
        elif name == "br" and not plain:
            _try(found, _brotli, max_bytes)
    for _ in range(_MAX_LAYERS):
        if not (
            _undo_signed(found, max_bytes) or _undo_unsigned(found, max_bytes) or _undo_inner_chunks(found)
        ):
            break
    return found


def is_coded(body: bytes) -> bool:
    """Say whether a body begins with the signature of a coding."""
    if body[:1] == b"<":  # nearly every page; no signature does
        return False
    return body.startswith((_GZIP, _ZSTD)) or _in_front(body) is not None


def may_be_coded(body: bytes) -> bool:
    """Say whether a body may be compressed without a signature: it begins with bytes that no text has, and
    not like anything that is known."""
    return has_binary_bytes(body) and binary_type(body) is None and not looks_like_html(body)


def _in_front(body: bytes) -> int | None:
    """Return where a coding's signature follows what may stand before it: a mark or blanks before gzip, and
    zstd's frames without data, of which it is the start."""
    if found := _BEFORE_GZIP.match(body):
        return found.end()
    at = 0
    for _ in range(_MAX_LAYERS):
        if not _SKIPPABLE.match(body, at):
            break
        at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
    return 0 if at and body.startswith(_ZSTD, at) else None


def _undo_signed(found: Decoded, max_bytes: int) -> bool:
    """Undo a coding that the body begins with the signature of; False where there is none, or nothing in
    it."""
    body = found.body
    at = None if body.startswith((_GZIP, _ZSTD)) else _in_front(body)
    if at:
        body = body[at:]
    if body.startswith(_GZIP):
        out, damage = _gzip(body, max_bytes)
    elif body.startswith(_ZSTD) or at is not None:
        out, damage = _zstd(body, max_bytes)
    else:
        return False
    if not out and damage:
        return False
    found.body, found.damage, found.is_inflated = out, found.damage or damage, True
    return True


def _undo_unsigned(found: Decoded, max_bytes: int) -> bool:
    """Undo deflate or brotli under no name or a wrong one: of bytes that no text begins with, where what
    comes out is text, whole or at least a page."""
    body = found.body
    if not may_be_coded(body):
        return False
    for undo in (_deflate, _brotli):
        out, damage = undo(body, max_bytes)
        if out and not has_binary_bytes(out) and (looks_like_html(out) if damage else len(out) > len(body)):
            found.body, found.damage, found.is_inflated = out, found.damage or damage, True
            return True
    return False


def _undo_inner_chunks(found: Decoded) -> bool:
    """Join chunks that were coded with the body; those around a coding are joined with the HTTP message."""
    if not (found.is_inflated and may_be_chunks(found.body)):
        return False
    out, damage = dechunk_unannounced(found.body)
    if out is found.body:
        return False
    found.body, found.damage = out, found.damage or damage
    return True


def _try(found: Decoded, undo: Callable[[bytes, int], tuple[bytes, str | None]], max_bytes: int) -> None:
    """Undo a coding without a signature: a body that is text as it is was stored decoded."""
    out, damage = undo(found.body, max_bytes)
    if not out or (damage and not has_binary_bytes(found.body)):
        return
    found.body, found.damage, found.is_inflated = out, found.damage or damage, True


class _Output:
    """Pieces of output under the bound."""

    def __init__(self, max_bytes: int) -> None:
        self._max, self._got = max_bytes, 0
        self.pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self._got += len(piece)
        if self._got > self._max:
            raise TooLarge

    @property
    def left(self) -> int:
        return self._max + 1 - self._got


def _gzip(body: bytes, max_bytes: int) -> tuple[bytes, str | None]:
    """Inflate every member; the checksum is checked by itself, since zlib withholds data before a wrong
    one."""
    out, at = _Output(max_bytes), 0
    while body.startswith(_GZIP, at):
        start = _end_of_gzip_header(body, at)
        first = len(out.pieces)
        end, damage = _raw_inflate(body, start, out)
        if damage:
            return b"".join(out.pieces), f"gzip: {damage}"
        data = b"".join(out.pieces[first:])
        trailer = body[end : end + 8]
        sums = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
        if trailer != sums:
            return b"".join(out.pieces), "gzip: truncated" if len(trailer) < 8 else "gzip: wrong checksum"
        at = end + 8
    return b"".join(out.pieces), None


def _end_of_gzip_header(body: bytes, at: int) -> int:
    """Step over a member's header (RFC 1952 section 2.3)."""
    flags = body[at + 3] if len(body) > at + 3 else 0
    at += 10
    if flags & 4:
        at += 2 + int.from_bytes(body[at : at + 2], "little")
    for flag in (8, 16):  # name, comment: each ends with a zero
        if flags & flag:
            end = body.find(b"\0", at)
            at = end + 1 if end >= 0 else len(body)
    return at + 2 if flags & 2 else at


def _deflate(body: bytes, max_bytes: int) -> tuple[bytes, str | None]:
    """The coding's name is zlib's form (RFC 9110 section 8.4.1.2); servers send bare DEFLATE, too."""
    out = _Output(max_bytes)
    has_header = len(body) > 2 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    end, damage = _raw_inflate(body, 2 if has_header else 0, out)
    data = b"".join(out.pieces)
    if not damage and has_header and body[end : end + 4] != zlib.adler32(data).to_bytes(4, "big"):
        damage = "wrong checksum" if len(body) >= end + 4 else "truncated"
    return data, f"deflate: {damage}" if damage else None


def _raw_inflate(body: bytes, at: int, out: _Output) -> tuple[int, str | None]:
    """Inflate bare DEFLATE from `at`; return where it ended and what was wrong."""
    inner = zlib.decompressobj(-15)
    while not inner.eof:
        piece = body[at : at + _PIECE_BYTES]
        if not piece:
            return at, "truncated"
        before = inner.copy()
        try:
            out.add(inner.decompress(piece, out.left))
            while inner.unconsumed_tail:
                out.add(inner.decompress(inner.unconsumed_tail, out.left))
        except zlib.error:
            _byte_by_byte(before, piece, out)
            return at, "damaged"
        at += len(piece)
    return at - len(inner.unused_data), None


def _byte_by_byte(inner: Any, piece: bytes, out: _Output) -> None:
    """Get what comes before the error within a piece."""
    try:
        for at in range(len(piece)):
            out.add(inner.decompress(piece[at : at + 1]))
    except zlib.error:
        pass


def _brotli(body: bytes, max_bytes: int) -> tuple[bytes, str | None]:
    import brotli

    decompressor, out = brotli.Decompressor(), _Output(max_bytes)
    has_bound = hasattr(decompressor, "can_accept_more_data")  # since 1.2
    bound = {"output_buffer_limit": _MAX_STEP_BYTES} if has_bound else {}
    step = 1024 if has_bound else 8
    at = 0
    try:
        for at in range(0, len(body), step):
            given = decompressor.process(body[at : at + step], **bound)
            while given:
                out.add(given)
                given = decompressor.process(b"", **bound) if has_bound else b""
            if decompressor.is_finished():
                return b"".join(out.pieces), None
    except brotli.error:
        return _brotli_before_error(body, at, step, b"".join(out.pieces), max_bytes)
    return b"".join(out.pieces), "br: truncated"


def _brotli_before_error(
    body: bytes, at: int, step: int, known: bytes, max_bytes: int
) -> tuple[bytes, str | None]:
    """Read again, from `at` byte by byte: an error within a piece loses what came before it, and bytes behind
    the stream's end are an error."""
    import brotli

    again, out = brotli.Decompressor(), _Output(max_bytes)
    try:
        for start in range(0, at, step):
            out.add(again.process(body[start : start + step]))
        for start in range(at, min(at + step, len(body))):
            out.add(again.process(body[start : start + 1]))
            if again.is_finished():
                return b"".join(out.pieces), None
    except brotli.error:
        pass
    return b"".join(out.pieces) or known, "br: damaged"


def _zstd(body: bytes, max_bytes: int) -> tuple[bytes, str | None]:
    """Inflate every frame; skippable ones between them hold no content."""
    import zstandard

    out, at = _Output(max_bytes), 0
    factory = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    while at < len(body) and (body.startswith(_ZSTD, at) or _is_skippable(body[at : at + 4])):
        if not body.startswith(_ZSTD, at):
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
            continue
        start, kept, inner = at, len(out.pieces), factory.decompressobj()
        try:
            while not inner.eof:
                piece = body[at : at + _ZSTD_PIECE_BYTES]
                if not piece:
                    return b"".join(out.pieces), "zstd: truncated"
                out.add(inner.decompress(piece))
                at += len(piece)
        except zstandard.ZstdError:
            _whole_blocks(
                factory.decompressobj(), body[start : at + _ZSTD_PIECE_BYTES], at - start, out, kept
            )
            return b"".join(out.pieces), "zstd: damaged"
        at -= len(inner.unused_data or b"")
    return b"".join(out.pieces), None


def _whole_blocks(inner: Any, frame: bytes, good: int, out: _Output, kept: int) -> None:
    """Read a damaged frame again, its last piece byte by byte: what comes before the error is whole."""
    import zstandard

    known = sum(map(len, out.pieces[kept:]))
    again = [inner.decompress(frame[:good])] if good else []
    try:
        for at in range(good, len(frame)):
            again.append(inner.decompress(frame[at : at + 1]))
    except zstandard.ZstdError:
        pass
    out.add(b"".join(again)[known:])


def _is_skippable(magic: bytes) -> bool:
    return len(magic) == 4 and 0x184D2A50 <= int.from_bytes(magic, "little") <= 0x184D2A5F
