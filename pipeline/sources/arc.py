"""ARC, the form of web archives before WARC: one line of header, then the block.

Version 1 writes `URL IP date type length`, version 2 a status, checksum, location, offset and file name
before the length.
"""

from __future__ import annotations

import re

from gristmill.hashing import digest16
from gristmill.pipeline.sources.archive import Head
from gristmill.pipeline.sources.record import NotDocument, Origin, Record
from gristmill.pipeline.sources.warc import page

_DATE = re.compile(rb"\d{8,17}")
_ADDRESS = re.compile(rb"[0-9a-fA-F.:]+")


class Arc:
    """The grammar of ARC 1 and 2."""

    name = "arc"
    start = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:[^\s]")
    restart = re.compile(
        rb"\n((?:https?|ftp|filedesc|dns|file|urn)://?[^\r\n]{1,8000} \d{8,17} [^\r\n]* \d+\r?\n)"
    )

    def head_end(self, data: bytes) -> int:
        return data.find(b"\n") + 1 or -1

    def parse_head(self, head: bytes) -> Head:
        fields = head.strip().split(b" ")
        at = next(
            (number for number, value in enumerate(fields) if number and _DATE.fullmatch(value)), len(fields)
        )
        if at + 1 >= len(fields) or not fields[-1].isdigit():
            raise ValueError(f"not an ARC header: {head[:80]!r}")
        # URLs with blanks occur, and so do headers that lack the address or the type.
        num_url = at - 1 if at > 1 and _ADDRESS.fullmatch(fields[at - 1]) else at
        url = b" ".join(fields[:num_url]).decode("utf-8", "replace")
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


def _iso(date: str) -> str:
    date = date.ljust(14, "0")
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:14]}Z"


ARC = Arc()
