"""Bodies as crawlers stored them: coded, coded twice, broken, under another name, or no text at all."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import brotli
import pytest
import zstandard

from gristmill.pipeline.extract.decoding.content import TooLarge, decode_content
from gristmill.pipeline.extract.decoding.sniffing import binary_type, looks_like_html
from tests.extract.test_extraction import Milled
from tests.support.archives import page, record

PAGE = page(3)
BOUND = 20_000_000


def http(head: str, body: bytes) -> bytes:
    return head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


def chunks(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


OK = "HTTP/1.1 200 OK\n"
HTML = f"{OK}Content-Type: text/html"
# What browsers show of each is the page: Fetch and MIME Sniffing for types, RFC 9110 and 9112 for codings.
WHOLE = {
    "lower-case status line": http("http/1.1 200 OK\nContent-Type: text/html", PAGE),
    "blank line before the status": b"\r\n" + http(HTML, PAGE),
    "ICY": http("ICY 200 OK\nContent-Type: text/html", PAGE),
    "headers without a status line": http("Content-Type: text/html\nServer: x", PAGE),
    "an interim answer first": http("HTTP/1.1 100 Continue", b"") + http(HTML, PAGE),
    "a proxy's answer first": http("HTTP/1.0 200 Connection established", b"") + http(HTML, PAGE),
    "no semicolon": http(f"{OK}Content-Type: text/html charset=utf-8", PAGE),
    "a list of types": http(f"{OK}Content-Type: text/html, text/html; charset=utf-8", PAGE),
    "a quoted type": http(f'{OK}Content-Type: "text/html"', PAGE),
    "a second line with the type": http(f"{OK}Content-Type: text/plain\nContent-Type: text/html", PAGE),
    "an empty line first": http(f"{OK}Content-Type:\nContent-Type: text/html", PAGE),
    "an unknown type": http(f"{OK}Content-Type: unknown/unknown", PAGE),
    "any type": http(f"{OK}Content-Type: */*", PAGE),
    "half a type": http(f"{OK}Content-Type: html", PAGE),
    "no type, a script first": http(OK.rstrip(), b"<script>var a = 1</script>" + PAGE),
    "no type, compressed": http(f"{OK}Content-Encoding: gzip", gzip.compress(PAGE)),
    "compressed without a header": http(HTML, gzip.compress(PAGE)),
    "two members": http(
        f"{HTML}\nContent-Encoding: gzip", gzip.compress(PAGE[:150]) + gzip.compress(PAGE[150:])
    ),
    "compressed twice": http(f"{HTML}\nContent-Encoding: gzip", gzip.compress(gzip.compress(PAGE))),
    "a blank line before": http(f"{HTML}\nContent-Encoding: gzip", b"\r\n" + gzip.compress(PAGE)),
    "a second line of codings": http(
        f"{HTML}\nContent-Encoding: identity\nContent-Encoding: gzip", gzip.compress(PAGE)
    ),
    "called br, is gzip": http(f"{HTML}\nContent-Encoding: br", gzip.compress(PAGE)),
    "called deflate, is gzip": http(f"{HTML}\nContent-Encoding: deflate", gzip.compress(PAGE)),
    "called gzip, is zstd": http(f"{HTML}\nContent-Encoding: gzip", zstandard.compress(PAGE)),
    "deflate without a header": http(f"{HTML}\nContent-Encoding: deflate", zlib.compress(PAGE)[2:-4]),
    "two frames": http(
        f"{HTML}\nContent-Encoding: zstd", zstandard.compress(PAGE[:150]) + zstandard.compress(PAGE[150:])
    ),
    "chunks of gzip": http(
        f"{HTML}\nContent-Encoding: gzip\nTransfer-Encoding: chunked", chunks(gzip.compress(PAGE))
    ),
    "the transfer's own gzip": http(f"{HTML}\nTransfer-Encoding: gzip, chunked", chunks(gzip.compress(PAGE))),
    "long sizes of chunks": http(
        f"{HTML}\nTransfer-Encoding: chunked", b"%010x\r\n%s\r\n0\r\n" % (len(PAGE), PAGE)
    ),
    "both orders of two": http(f"{HTML}\nContent-Encoding: br, gzip", brotli.compress(gzip.compress(PAGE))),
    "brotli under no name": http(HTML, brotli.compress(PAGE)),
    "deflate under no name": http(HTML, zlib.compress(PAGE)),
    "called gzip, is brotli": http(f"{HTML}\nContent-Encoding: gzip", brotli.compress(PAGE)),
    "called brotli, is deflate": http(f"{HTML}\nContent-Encoding: br", zlib.compress(PAGE)),
    "a name in quotes": http(f'{HTML}\nContent-Encoding: "br"', brotli.compress(PAGE)),
    "a name with a parameter": http(f"{HTML}\nContent-Encoding: br;q=1.0", brotli.compress(PAGE)),
    "a name beside a charset": http(f"{HTML}\nContent-Encoding: br utf-8", brotli.compress(PAGE)),
    "x-deflate": http(f"{HTML}\nContent-Encoding: x-deflate", zlib.compress(PAGE)),
    "a frame without data first": http(
        HTML, struct.pack("<II", 0x184D2A50, 5) + b"hello" + zstandard.compress(PAGE)
    ),
    "a line end behind brotli": http(f"{HTML}\nContent-Encoding: br", brotli.compress(PAGE) + b"\r\n"),
    "a mark before gzip": http(HTML, b"\xef\xbb\xbf" + gzip.compress(PAGE)),
    "chunks that no header speaks of": http(HTML, chunks(PAGE)),
    "chunks of gzip that no header speaks of": http(
        f"{HTML}\nContent-Encoding: gzip", chunks(gzip.compress(PAGE))
    ),
    "gzip of chunks": http(f"{HTML}\nContent-Encoding: gzip", gzip.compress(chunks(PAGE))),
    "gzip of chunks that a header speaks of": http(
        f"{HTML}\nContent-Encoding: gzip\nTransfer-Encoding: chunked", gzip.compress(chunks(PAGE))
    ),
    "chunks of brotli of chunks with a trailer": http(
        f"{HTML}\nContent-Encoding: br\nTransfer-Encoding: chunked",
        chunks(brotli.compress(chunks(PAGE)[:-2] + b"Expires: 0\r\nETag: x\r\n\r\n")),
    ),
    "chunks of chunks": http(f"{HTML}\nTransfer-Encoding: chunked", chunks(chunks(PAGE))),
    "a coding that is not there": http(f"{HTML}\nContent-Encoding: br", PAGE),
}  # fmt: skip


def test_pages_are_whole_however_they_were_sent(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"".join(record(n, block) for n, block in enumerate(WHOLE.values())))
    milled = Milled(tmp_path / "a.warc")
    found = {row["origin"]["offset"]: row["text"] for row in milled.rows()}
    assert milled.errors == []
    assert milled.rules == []
    texts = dict(zip(WHOLE, [found[offset] for offset in sorted(found)], strict=True))
    wrong = {name: text for name, text in texts.items() if text != texts["no semicolon"]}
    assert not wrong
    assert texts["no semicolon"].count("The mill by the river") == 3
    assert milled.notes == {}


def test_the_archives_own_type_counts_beside_a_vague_one(tmp_path: Path) -> None:
    vague = http(f"{OK}Content-Type: application/octet-stream", PAGE)
    named = "WARC-Identified-Payload-Type: text/html\r\n"
    picture = "WARC-Identified-Payload-Type: image/x-tga\r\n"
    (tmp_path / "a.warc").write_bytes(
        record(1, vague)
        + record(2, vague, extra=named)
        + record(3, http(HTML, b"\x00\x00\x02" * 90), extra=picture)
    )
    milled = Milled(tmp_path / "a.warc")
    assert milled.rules == ["extract.content_type", "extract.binary"]
    assert milled.documents.num_rows == 1


def office_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return file.getvalue()


# First bytes by the formats' own specifications; the names are those of MIME Sniffing where it has one.
BINARY = {
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj <</Type /Catalog>> endobj",
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "image/gif": b"GIF89a\x01\0\x01\0",
    "image/webp": b"RIFF\x24\0\0\0WEBPVP8 ",
    "image/bmp": b"BM" + struct.pack("<IHHI", 90, 0, 0, 54) + bytes(40),
    "application/zip": office_file(),
    "application/x-ole-storage": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60),
    "video/mp4": b"\0\0\0\x18ftypmp42\0\0\0\0",
    "video/webm": b"\x1a\x45\xdf\xa3\x01\0\0\0",
    "audio/mpeg": b"ID3\x03\0\0\0\0",
    "font/woff2": b"wOF2\0\x01\0\0",
    "font/ttf": b"\0\x01\0\0\0\x0f\0\x80",
    "application/x-7z-compressed": b"7z\xbc\xaf\x27\x1c\0\x04",
    "application/x-compress": b"\x1f\x9d\x90\0\x02",
    "application/x-dcb": b"\xff\x44\x43\x42" + bytes(32),
    "application/gzip": b"\x1f\x8b\x08\0 and no more that could be inflated",
}


def test_bodies_that_are_no_text_are_removed_by_name_under_any_label(tmp_path: Path) -> None:
    for body in BINARY.values():
        assert binary_type(body)
    bodies = [*BINARY.values(), *(gzip.compress(body) for body in BINARY.values())]
    blocks = [http(HTML, body * 3) for body in bodies]
    (tmp_path / "a.warc").write_bytes(b"".join(record(n, block) for n, block in enumerate(blocks)))
    milled = Milled(tmp_path / "a.warc")
    assert milled.documents.num_rows == 0
    assert set(milled.rules) == {"extract.binary"}


@pytest.mark.parametrize(("kind", "body"), BINARY.items())
def test_each_signature_is_known_and_pages_are_none(kind: str, body: bytes) -> None:
    assert binary_type(body) == kind
    assert not looks_like_html(body)
    assert binary_type(PAGE) is None
    assert looks_like_html(b"\xef\xbb\xbf \r\n<TABLE border=1>")
    assert not looks_like_html(b"<tablet>")


def test_what_is_whole_of_a_broken_coding_is_kept_and_said() -> None:
    data = b"".join(b"%d bottles\n" % n for n in range(20_000))
    packed = gzip.compress(data)
    wrong_sum = packed[:-8] + b"\0\0\0\0" + packed[-4:]
    cases = {
        "gzip: wrong checksum": (wrong_sum, "gzip", len(data)),
        "gzip: truncated": (packed[:-3], "gzip", len(data)),
        "deflate: truncated": (zlib.compress(data)[:-2], "deflate", len(data)),
        "deflate: wrong checksum": (zlib.compress(data)[:-4] + b"oops", "deflate", len(data)),
        "zstd: truncated": (zstandard.compress(data)[:-1], "zstd", len(data) // 2),
        "br: truncated": (brotli.compress(data)[:-10], "br", len(data) // 2),
    }
    for damage, (body, name, least) in cases.items():
        found = decode_content(body, name, BOUND)
        assert found.damage == damage
        assert data.startswith(found.body)
        assert len(found.body) >= least, damage
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    found = decode_content(bytes(flipped), "gzip", BOUND)
    assert found.damage in ("gzip: damaged", "gzip: wrong checksum")
    assert found.body[:1000] == data[:1000]
    writer = zstandard.ZstdCompressor(write_checksum=True)
    summed = bytearray(writer.compress(data))
    summed[-1] ^= 1
    found = decode_content(bytes(summed), "zstd", BOUND)
    assert (found.damage, found.body) == ("zstd: damaged", data)


def test_a_damaged_body_is_marked_on_its_document_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(1, http(HTML, gzip.compress(PAGE)[:-2])) + record(2))
    milled = Milled(tmp_path / "a.warc", passthrough=["page.damage"])
    assert milled.documents["page.damage"].to_pylist() == ["gzip: truncated", None]
    assert milled.notes == {"note.damaged_content": 1}


def test_broken_chunks_are_marked_on_their_document_within_a_coding_and_around_it(tmp_path: Path) -> None:
    # RFC 9112, section 7.1: each chunk is its size in hexadecimal, a line end, so many bytes, a line end.
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (PAGE[:60], PAGE[60:200], PAGE[200:]))
    cut, spoilt = parts[:-40], parts + b"no chunk"
    coded = f"{HTML}\nContent-Encoding: gzip"
    claimed = f"{HTML}\nTransfer-Encoding: chunked"
    blocks = {
        http(coded, gzip.compress(cut)): "chunks: truncated",
        http(coded, gzip.compress(spoilt)): "chunks: damaged",
        http(claimed, cut): "chunks: truncated",
        http(claimed, spoilt): "chunks: damaged",
        http(HTML, cut): "chunks: truncated",
        http(f"{coded}\nTransfer-Encoding: chunked", chunks(gzip.compress(PAGE)[:-2])[:-7]): (
            "chunks: truncated; gzip: truncated"
        ),
        http(f"{HTML}\nContent-Length: 900", PAGE): "body: shorter than its Content-Length",
        http(claimed, parts + b"0\r\n\r\n"): None,
    }
    (tmp_path / "a.warc").write_bytes(b"".join(record(n, block) for n, block in enumerate(blocks)))
    milled = Milled(tmp_path / "a.warc", passthrough=["page.damage"])
    rows = sorted(milled.rows(), key=lambda row: row["origin"]["offset"])
    assert [row["page.damage"] for row in rows] == [*blocks.values()]
    assert all(row["text"].startswith("The mill by the river") for row in rows)
    assert not any("8c" in row["text"] or "3c" in row["text"] for row in rows)  # sizes of chunks


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, brotli.compress, zlib.compress])
def test_no_coding_inflates_beyond_its_bound(pack: object) -> None:
    name = {gzip.compress: "gzip", zstandard.compress: "zstd", brotli.compress: "br"}.get(pack, "deflate")
    body = pack(bytes(3 << 20))  # type: ignore[operator]
    with pytest.raises(TooLarge):
        decode_content(body, name, 1 << 20)
    assert len(decode_content(body, name, 4 << 20).body) == 3 << 20


def test_text_that_was_never_text_is_removed_with_its_share(tmp_path: Path) -> None:
    kept = "Ein Müller mahlt, und ein Zeichen \ufffd fehlt ihm in einem langen Satz über das Mehl."
    broken = "\ufffd\x81\x9d" * 30 + "und so weiter"
    rows = "".join(f'{{"text": "{text}"}}\n' for text in (kept, broken, "a\ufffd"))
    (tmp_path / "a.jsonl").write_text(rows)
    milled = Milled(tmp_path / "a.jsonl")
    assert [row["text"] for row in milled.rows()] == [kept]
    assert milled.rules == ["extract.broken_text", "extract.broken_text"]
    assert milled.removed["value"].to_pylist() == [90 / 103, 0.5]


def test_wide_text_and_pages_that_begin_with_a_number_stay_as_they_are(tmp_path: Path) -> None:
    # Bytes that no ASCII has are UTF-16's, too; a page may begin as a chunk's size does.
    wide = "<html><p>The mill by the river ground wheat</p></html>".encode("utf-16-le")
    number = b"1b\r\n<p>is a number of the mill by the river, and no chunk's size</p>"
    (tmp_path / "a.warc").write_bytes(record(1, http(HTML, wide)) + record(2, http(HTML, number)))
    texts = [row["text"] for row in Milled(tmp_path / "a.warc").rows()]
    assert texts[0].strip() == "The mill by the river ground wheat"
    assert texts[1].startswith("1b") and texts[1].strip().endswith("no chunk's size")


def test_brotli_is_read_to_its_end_and_no_further() -> None:
    packed = brotli.compress(PAGE * 40)
    for behind in (b"\r\n", b"0" * 5000):
        found = decode_content(packed + behind, "br", BOUND)
        assert (found.body, found.damage) == (PAGE * 40, None)
    cut = decode_content(packed[:-20], "br", BOUND)
    assert cut.damage == "br: truncated" and PAGE.startswith(cut.body[: len(PAGE)])
