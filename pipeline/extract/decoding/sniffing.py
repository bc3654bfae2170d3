"""What bytes are by themselves, whatever a header says of them: the signatures of what is no text.

Most are those of WHATWG's MIME Sniffing (sections 6.1 to 6.4); documents of Office, archives, databases and
programs, which browsers need not tell apart, are from the `file` command's list (PRONOM).
"""

from __future__ import annotations

import re

HEAD_BYTES = 1445  # the resource header of the standard, section 5.2

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"PK\x03\x04", "application/zip"),  # and Office Open XML, OpenDocument, EPUB, APK, JAR
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x1f\x9d", "application/x-compress"),
    (b"\x5d\x00\x00", "application/x-lzma"),
    (b"\xff\x44\x43\x42", "application/x-dcb"),  # brotli and zstd by a dictionary, RFC 9842
    (b"\x5e\x2a\x4d\x18\x20\x00\x00\x00", "application/x-dcz"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),  # Office up to 2003
    (b"{\\rtf", "application/rtf"),
    (b"OggS\x00", "application/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b".snd", "audio/basic"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (b"FWS", "application/x-shockwave-flash"),
    (b"CWS", "application/x-shockwave-flash"),
    (b"ZWS", "application/x-shockwave-flash"),
    (b"\x00\x01\x00\x00\x00", "font/ttf"),
    (b"OTTO\x00", "font/otf"),
    (b"ttcf\x00", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x00asm", "application/wasm"),
    (b"\x7fELF", "application/x-elf"),
    (b"MZ\x90\x00", "application/x-msdownload"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"AT&TFORM", "image/vnd.djvu"),
)
_BINARY_TYPES = frozenset(kind for _, kind in _SIGNATURES)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wave", b"AVI ": "video/avi"}
_BY_FIRST = {
    first: tuple(pair for pair in _SIGNATURES if pair[0][0] == first)
    for first in {s[0][0] for s in _SIGNATURES}
}

# Section 7.1 of the standard: tags that make a resource of unknown type HTML, before a blank or `>`.
_TAGS = (
    rb"!doctype html|html|head|script|iframe|h[1-6]|div|font|table|a|style|title|b|body|br|p|meta|link|center"
    rb"|form|ul|ol|span|article|main|section"
)
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*+<(?:(?:" + _TAGS + rb")[\t\n\x0c\r />]|!--|\?xml|!doctype)",
    re.IGNORECASE,
)
# Section 3 of the standard: binary data bytes.
_BINARY_BYTES = bytes([*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])
_FEW_BYTES = 512
_LESS_THAN = ord("<")
_BINARY_FAMILIES = ("image/", "audio/", "video/", "font/")


def binary_type(body: bytes) -> str | None:
    """Return the media type that the first bytes are a signature of, None for what may be text."""
    if not body or body[0] == _LESS_THAN:  # nearly every page; no signature does
        return None
    for signature, kind in _BY_FIRST.get(body[0], ()):
        if body.startswith(signature):
            return kind if kind != "application/x-bzip2" or body[3:4].isdigit() else None
    if body[:4] == b"RIFF" and body[8:12] in _RIFF:
        return _RIFF[body[8:12]]
    if body[:4] == b"FORM" and body[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if body[4:8] == b"ftyp" and body[:2] == b"\0\0":
        return "video/mp4"
    if body[:2] == b"BM" and body[6:10] == bytes(4) and len(body) >= 14:
        return "image/bmp"
    return None


def has_binary_bytes(body: bytes) -> bool:
    """Say whether bytes that no text has are among the first, as the standard counts them."""
    head = body[:_FEW_BYTES]
    return len(head.translate(None, _BINARY_BYTES)) < len(head)


def looks_like_html(body: bytes) -> bool:
    """Say whether a resource of unknown type begins like HTML, as browsers decide it."""
    return _HTML.match(body[:HEAD_BYTES]) is not None


def is_binary_name(media_type: str | None) -> bool:
    """Say whether a media type names what is no text: of an archive that has identified its payloads."""
    return bool(media_type) and (
        media_type.startswith(_BINARY_FAMILIES)  # type: ignore[union-attr]
        or media_type in _BINARY_TYPES
    )
