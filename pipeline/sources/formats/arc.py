"""ARC, the form of web archives before WARC: one line of header, then the block.

Version 1 writes `URL IP date type length`, version 2 a status, checksum, location, offset and file name
before the length.
"""

from __future__ import annotations

import re

from gristmill.hashing import digest16
from gristmill.pipeline.sources.archives.archive import Head, archive_reader
from gristmill.pipeline.sources.archives.httpmessage import text_of
from gristmill.pipeline.sources.format import InputFormat
from gristmill.pipeline.sources.formats.warc import page
from gristmill.pipeline.sources.record import NotDocument, Origin, Record

_DATE = re.compile(rb"\d{8,17}")
_ADDRESS = re.compile(rb"[0-9a-fA-F.:]+|-")
_IP = re.compile(rb"[0-9a-fA-F]*[.:][0-9a-fA-F.:]+")
_URL_LINE = re.compile(rb"\n(?:https?|ftp|filedesc|dns|file|urn):")
_MAX_LINE_BYTES = 1 << 13  # the cursor looks for a record across two pieces within this


class Arc:
    """The grammar of ARC 1 and 2."""

    name = "arc"
    start = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:[^\s]")

    def find_restart(self, data: bytes, at: int, end: int | None = None) -> int:
        """Each line that begins like a URL is looked at once: one pattern for the whole header would try
        every way to divide it."""
        position, end = max(at - 1, 0), len(data) if end is None else end
        while found := _URL_LINE.search(data, position, end):
            start, position = found.start() + 1, found.end()
            line_end = data.find(b"\n", start, min(start + _MAX_LINE_BYTES, end))
            if start >= at and line_end > 0 and _fields(data[start:line_end]):
                return start
        return -1

    def head_end(self, data: bytes, at: int = 0) -> int:
        end = data.find(b"\n", at) + 1
        return end - at if end else -1

    def parse_head(self, head: bytes) -> Head:
        found = _fields(head)
        if found is None:
            raise ValueError(f"not an ARC header: {head[:80]!r}")
        fields, at = found
        # URLs with blanks occur, and so do headers that lack the address or the type.
        before = _without_blanks(fields[:at])
        if len(before) > 1 and _ADDRESS.fullmatch(before[-1]):
            before = _without_blanks(before[:-1])
        url = text_of(b" ".join(before))
        date = fields[at].decode()[:14]
        kind = "filedesc" if url.startswith("filedesc:") else "dns" if url.startswith("dns:") else "response"
        headers = {"content-type": fields[at + 1].decode("latin-1")} if at + 2 < len(fields) else {}
        return Head(kind, int(fields[-1]), url, _iso(date), f"{date}/{url}", headers)

    def make(self, head: Head, block: bytes, origin: Origin) -> Record | NotDocument:
        if head.kind != "response":
            return NotDocument(head.kind, origin, len(block))
        # One URL fetched twice in a second is two records: the content is part of the key.
        head.key = digest16(head.key or "", block).hex()
        return page(head, block, origin, is_http=True)


def _fields(head: bytes) -> tuple[list[bytes], int] | None:
    """Return the fields of a header line and which of them is the date; None if it is no header. Some writers
    set tabs."""
    fields = head.strip().replace(b"\t", b" ").split(b" ")
    if not fields[-1].isdigit():
        return None
    first, before = 0, b""
    for at, value in enumerate(fields[:-1]):
        if at and _DATE.fullmatch(value):
            first = first or at
            # A URL with blanks may hold what looks like a date; an address stands only before the true one.
            if _IP.fullmatch(before):
                break
        before = value or before
    else:
        at = first
    return (fields[: at + 1] + [value for value in fields[at + 1 :] if value], at) if at else None


def _without_blanks(fields: list[bytes]) -> list[bytes]:
    """Drop empty fields at the end: some writers set several blanks."""
    end = len(fields)
    while end and not fields[end - 1]:
        end -= 1
    return fields[:end]


def _iso(date: str) -> str:
    date = date.ljust(14, "0")
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:14]}Z"


ARC = Arc()
FORMATS = (InputFormat("arc", (".arc",), "always", archive_reader(ARC)),)
