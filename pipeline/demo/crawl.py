"""Write pages as a crawler does: gzipped WARC files of warcinfo, request, response and metadata records."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from gristmill.hashing import digest16
from gristmill.pipeline.demo.pages import DemoPage

CRAWLED = datetime(
    2025, 1, 15, 12, tzinfo=UTC
)  # fixed, as all dates here: a second crawl must equal the first
_FIELDS = {
    "software": "gristmill demo",
    "isPartOf": "the embedded quickstart",
    "format": "WARC File Format 1.0",
}


def write_crawl(folder: Path, pages: Sequence[DemoPage], num_files: int) -> list[Path]:
    """Spread pages over files by the hash of their address, as a crawler's queue does; return the files in
    order."""
    paths = []
    for number in range(num_files):
        path = folder / f"crawl-{number:05d}.warc.gz"
        mine = [
            page
            for page in pages
            if int.from_bytes(digest16("file", page.url)[:4], "little") % num_files == number
        ]
        mine.sort(key=lambda page: digest16("order", page.url))
        with path.open("wb") as file:
            writer = WARCWriter(file, gzip=True)
            _write_info(writer, path.name)
            for page in mine:
                _write_visit(writer, page)
        paths.append(path)
    return paths


def _write_info(writer: WARCWriter, name: str) -> None:
    fields = "".join(f"{key}: {value}\r\n" for key, value in _FIELDS.items()).encode()
    headers = {**_named(name, "warcinfo", 0), "WARC-Filename": name}
    of_fields = "application/warc-fields"
    info = writer.create_warc_record("", "warcinfo", io.BytesIO(fields), len(fields), of_fields, headers)
    writer.write_record(info)


def _write_visit(writer: WARCWriter, page: DemoPage) -> None:
    """One page is three records: what was asked, what came, and what the crawler noted."""
    second = int.from_bytes(digest16("second", page.url)[:4], "little") % (30 * 24 * 3600)
    _scheme, _, host, *path = page.url.split("/")
    asked = StatusAndHeaders(
        f"GET /{'/'.join(path)} HTTP/1.1",
        [("Host", host), ("User-Agent", "demobot/1.0"), ("Accept", "text/html")],
        is_http_request=True,
    )
    came = StatusAndHeaders(
        page.status, [("Server", "httpd"), ("Date", _http_date(second)), ("Content-Type", page.content_type)]
    )
    came.protocol = "HTTP/1.1"
    body = page.body
    if digest16("encoding", page.url)[0] < 64:  # a quarter of the answers is stored as it was sent
        body = gzip.compress(body, mtime=0)
        came.headers.append(("Content-Encoding", "gzip"))
    came.headers.append(("Content-Length", str(len(body))))
    noted = io.BytesIO(f"fetchTimeMs: {second % 900}\r\nhopsFromSeed: {len(path)}\r\n".encode())
    for kind, payload, http in (
        ("request", io.BytesIO(), asked),
        ("response", io.BytesIO(body), came),
        ("metadata", noted, None),
    ):
        headers = _named(page.url, kind, second)
        of_fields = "application/warc-fields" if kind == "metadata" else ""
        record = writer.create_warc_record(
            page.url, kind, payload, len(payload.getvalue()), of_fields, headers, http_headers=http
        )
        writer.write_record(record)


def _named(key: str, kind: str, second: int) -> dict[str, str]:
    """A record's id and date, both functions of what it is."""
    name = UUID(bytes=digest16(kind, key))
    return {
        "WARC-Record-ID": f"<urn:uuid:{name}>",
        "WARC-Date": (CRAWLED + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _http_date(second: int) -> str:
    return (CRAWLED + timedelta(seconds=second)).strftime("%a, %d %b %Y %H:%M:%S GMT")
