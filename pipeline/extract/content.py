"""Content encodings of stored bodies: undone if they are really there, and never beyond a bound."""

from __future__ import annotations

import zlib


class TooLarge(Exception):
    """The body inflates beyond the bound."""


def decode_content(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo `gzip`, `deflate`, `br` and `zstd`, the last applied first.

    Many archives keep the header of a body that they stored decoded: what does not decode is returned as it
    is, and what breaks off as far as it goes.
    """
    for name in reversed([part.strip() for part in encoding.lower().split(",")]):
        if name in ("gzip", "x-gzip") and body[:2] == b"\x1f\x8b":
            body = _inflate(body, 47, max_bytes)
        elif name == "deflate" and body.lstrip()[:1] != b"<":
            body = _inflate(body, 15, max_bytes) if body[:1] == b"\x78" else _inflate(body, -15, max_bytes)
        elif name == "br" and body.lstrip()[:1] != b"<":
            body = _brotli(body, max_bytes)
        elif name == "zstd" and body[:4] == b"\x28\xb5\x2f\xfd":
            body = _zstd(body, max_bytes)
    return body


def _inflate(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(window_bits)
    try:
        out = decompressor.decompress(body, max_bytes + 1)
    except zlib.error:
        out = _as_far_as_it_goes(body, window_bits, max_bytes) or body
    if len(out) > max_bytes:
        raise TooLarge
    return out


def _as_far_as_it_goes(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    decompressor, pieces, got = zlib.decompressobj(window_bits), [], 0
    try:
        for at in range(0, len(body), 256):
            pieces.append(decompressor.decompress(body[at : at + 256], max_bytes + 1 - got))
            got += len(pieces[-1])
            if got > max_bytes:
                break
    except zlib.error:
        pass
    return b"".join(pieces)


def _brotli(body: bytes, max_bytes: int) -> bytes:
    import brotli

    decompressor, pieces, got = brotli.Decompressor(), [], 0
    try:
        for at in range(0, len(body), 1024):
            pieces.append(decompressor.process(body[at : at + 1024]))
            got += len(pieces[-1])
            if got > max_bytes:
                raise TooLarge
    except brotli.error:
        return b"".join(pieces) or body
    return b"".join(pieces)


def _zstd(body: bytes, max_bytes: int) -> bytes:
    import zstandard

    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(body) as reader:
            out: bytes = reader.read(max_bytes + 1)
    except zstandard.ZstdError:
        return body
    if len(out) > max_bytes:
        raise TooLarge
    return out
