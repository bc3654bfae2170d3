"""Web archives: what is read, in which order, from where."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard

from gristmill.errors import BooksError
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from gristmill.pipeline.sources.record import RangeEnd
from tests.support.archives import (
    ends,
    failures,
    http,
    member,
    others,
    page,
    read_all,
    read_split,
    record,
    records,
    source_of,
)

KINDS = ("warcinfo", "request", "response", "metadata", "revisit", "response")


def archive(num: int = 30) -> list[bytes]:
    return [record(number, kind=KINDS[number % len(KINDS)]) for number in range(num)]


def test_each_record_is_named_by_file_offset_and_length(tmp_path: Path) -> None:
    path, members = tmp_path / "crawl.warc.gz", [member(data) for data in archive()]
    path.write_bytes(b"".join(members))
    items = read_all(path)
    assert [item.kind for item in others(items)][:4] == ["warcinfo", "request", "metadata", "revisit"]
    found = records(items)
    assert len(found) == 10
    for item in found:
        stored = path.read_bytes()[item.origin.offset : item.origin.offset + item.origin.length]
        assert item.key.encode() in gzip.decompress(stored)
    assert found[0].url == "https://site2.example/page/2"
    assert (found[0].status, found[0].content_type, found[0].charset) == (200, "text/html", "utf-8")
    assert ends(items) == [RangeEnd(str(path), 0, path.stat().st_size, 0, path.stat().st_size)]


@pytest.mark.parametrize("codec", ["plain", "gz", "gz in one member", "zst", "zst with dictionary", "lz4"])
def test_the_same_records_come_out_of_every_compression(tmp_path: Path, codec: str) -> None:
    data = archive()
    ending = {"plain": ".warc", "gz": ".warc.gz", "lz4": ".warc.lz4"}.get(
        codec, ".warc.zst" if "zst" in codec else ".warc.gz"
    )
    path = tmp_path / f"crawl{ending}"
    dictionary = zstandard.train_dictionary(4096, [record(number) for number in range(200)])
    stored = {
        "plain": lambda: b"".join(data),
        "gz": lambda: b"".join(map(member, data)),
        "gz in one member": lambda: member(b"".join(data)),
        "zst": lambda: b"".join(map(zstandard.ZstdCompressor().compress, data)),
        "zst with dictionary": lambda: (
            (b"\x5d\x2a\x4d\x18" + len(dictionary.as_bytes()).to_bytes(4, "little") + dictionary.as_bytes())
            + b"".join(map(zstandard.ZstdCompressor(dict_data=dictionary).compress, data))
        ),
        "lz4": lambda: b"".join(map(lz4.frame.compress, data)),
    }[codec]()
    path.write_bytes(stored)
    items = read_all(path)
    assert not failures(items)
    assert [item.key for item in records(items)] == [
        f"<urn:uuid:{number:032x}>" for number in range(30) if number % 6 in (2, 5)
    ]
    assert len(others(items)) == 20
    split = read_split(path, max(len(stored) // 5, 1))
    assert [item for item in split if not isinstance(item, RangeEnd)] == [
        item for item in items if not isinstance(item, RangeEnd)
    ]
    assert len(ends(split)) >= 5
    check_ranges_meet(ends(split))


def test_any_split_reads_each_record_once(tmp_path: Path) -> None:
    path = tmp_path / "crawl.warc.gz"
    path.write_bytes(b"".join(map(member, archive(20))))
    plain = tmp_path / "crawl.warc"
    plain.write_bytes(b"".join(archive(12)))
    for file in (path, plain):
        wanted = [item for item in read_all(file) if not isinstance(item, RangeEnd)]
        for shard_bytes in (50, 111, 500, 1000, 1777):
            split = read_split(file, shard_bytes)
            assert [item for item in split if not isinstance(item, RangeEnd)] == wanted
            check_ranges_meet(ends(split))


def test_ranges_that_do_not_meet_are_told() -> None:
    with pytest.raises(BooksError, match="one ended at byte 120, the next began at 130"):
        check_ranges_meet([RangeEnd("a.warc", 100, 200, 130, 200), RangeEnd("a.warc", 0, 100, 0, 120)])
    with pytest.raises(BooksError, match="one ended at byte 120, no record starts there"):
        check_ranges_meet([RangeEnd("a.warc", 0, 100, 0, 120), RangeEnd("a.warc", 100, 200, -1, -1)])
    check_ranges_meet(
        [
            RangeEnd("a.warc", 0, 100, 0, 220),
            RangeEnd("a.warc", 100, 200, -1, -1),
            RangeEnd("a.warc", 200, 300, 220, 300),
        ]
    )
    check_ranges_meet(
        [RangeEnd("a.warc", 0, 100, 0, 120), RangeEnd("a.warc", 200, 300, 230, 300)]
    )  # the shard between was given up


def test_a_range_in_the_middle_of_one_long_member_looks_no_further_than_its_end(tmp_path: Path) -> None:
    path = tmp_path / "one.warc.gz"
    path.write_bytes(
        member(b"".join(record(number, random.Random(number).randbytes(4000)) for number in range(300)))
    )
    split = read_split(path, 100_000)
    assert len(records(split)) == 300
    assert [end.first for end in ends(split)][1:] == [-1] * (len(ends(split)) - 1)
    check_ranges_meet(ends(split))


def test_records_that_span_gzip_members_are_whole(tmp_path: Path) -> None:
    data, path = b"".join(archive()), tmp_path / "blocks.warc.gz"
    path.write_bytes(b"".join(member(data[at : at + 700]) for at in range(0, len(data), 700)))
    items = read_all(path)
    assert not failures(items)
    assert len(records(items)) == 10


def test_a_wet_record_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "crawl.warc.wet.gz"
    path.write_bytes(
        member(record(0, b"software: x", kind="warcinfo"))
        + member(record(1, "Grüße\n".encode(), kind="conversion"))
    )
    (found,) = records(read_all(path, "wet"))
    assert (found.text, found.payload, found.url) == ("Grüße\n", None, "https://site1.example/page/1")
    assert plan_shards(source_of(path), 1 << 20)[0].format == "wet"


def test_chunked_bodies_are_joined_and_false_claims_of_chunks_left_alone(tmp_path: Path) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\n<html>\r\n4\r\nmill\r\n0\r\nTrailer:"
        b" 1\r\n\r\n"
    )
    claimed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<html>mill"
    path = tmp_path / "crawl.warc"
    path.write_bytes(record(1, chunked) + record(2, claimed))
    assert [item.payload for item in records(read_all(path))] == [b"<html>mill", b"<html>mill"]


def test_http_headers_are_read_in_every_shape_crawlers_have_written(tmp_path: Path) -> None:
    shapes = [
        b"HTTP/1.0 404 Not Found\nContent-Type: Text/HTML\n\nbody",
        b"HTTP/1.1 404\r\r\nContent-Type: text/html\r\r\n\r\r\nbody",
        b'HTTP/2 404 \r\ncontent-type:text/html;charset="UTF-8"\r\nX-Folded: a\r\n b\r\n\r\nbody',
    ]
    path = tmp_path / "crawl.warc"
    path.write_bytes(b"".join(record(number, shape) for number, shape in enumerate(shapes)))
    found = records(read_all(path))
    assert [(item.status, item.content_type, item.payload) for item in found] == [
        (404, "text/html", b"body")
    ] * 3
    assert found[2].http_headers["x-folded"] == "a b"
    assert found[2].charset == "UTF-8"


@pytest.mark.parametrize(
    "shape", [b"HTTP/2.0 200 OK", b"HTTP/3 200", b"h2 200", b"HTTP 200 OK", b":status: 200"]
)
def test_status_lines_that_writers_make_up_are_read(tmp_path: Path, shape: bytes) -> None:
    path = tmp_path / "crawl.warc"
    path.write_bytes(record(1, shape + b"\r\ncontent-type: text/html\r\n\r\nbody"))
    (found,) = records(read_all(path))
    assert (found.status, found.content_type, found.payload) == (200, "text/html", b"body")


def test_an_answer_without_a_head_or_a_code_is_a_page(tmp_path: Path) -> None:
    # RFC 1945 section 3.1: a simple response of HTTP/0.9 is its body alone.
    path = tmp_path / "crawl.warc"
    path.write_bytes(
        record(1, page(1)) + record(2, b"HTTP/1.1 OK\r\nContent-Type: text/html\r\n\r\n" + page(2))
    )
    found = records(read_all(path))
    assert [(item.status, item.content_type) for item in found] == [(None, None), (None, "text/html")]
    assert [item.payload for item in found] == [page(1), page(2)]


def test_folded_headers_of_a_record_are_read(tmp_path: Path) -> None:
    # WARC 1.0 section 4: named fields may be continued on lines that begin with a blank.
    data = record(1).replace(b"Content-Length: ", b"Content-Length:\r\n  ", 1)
    (tmp_path / "a.warc").write_bytes(data.replace(b"WARC-Type: ", b"WARC-Type:\r\n\t") + record(2))
    items = read_all(tmp_path / "a.warc")
    assert len(records(items)) == 2 and not failures(items)


@pytest.mark.parametrize("name", ["kept", "removed", "failed", "lost", "deleted", "re\x1b[31m", "screenshot"])
def test_a_strangers_type_of_record_is_no_outlet_of_the_books(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.warc").write_bytes(record(1, kind=name) + record(2))
    assert [item.kind for item in others(read_all(tmp_path / "a.warc"))] == ["unknown"]


def test_a_text_in_a_declared_charset_or_with_a_mark_is_read(tmp_path: Path) -> None:
    text = "Grüße aus der Mühle"
    latin = record(1, text.encode("latin-1"), kind="conversion")
    latin = latin.replace(b"text/plain", b"text/plain; charset=iso-8859-1")
    marked = record(2, b"\xef\xbb\xbf" + text.encode(), kind="conversion")
    (tmp_path / "a.warc.wet").write_bytes(latin + marked)
    assert [item.text for item in records(read_all(tmp_path / "a.warc.wet", "wet"))] == [text, text]


@pytest.mark.parametrize("by", [2, 3, 8, 30, 200])
@pytest.mark.parametrize("form", ["arc", "warc"])
def test_a_length_that_reaches_into_the_next_record_costs_none_but_its_own(
    tmp_path: Path, form: str, by: int
) -> None:
    def stored(number: int, more: int) -> bytes:
        block = http(page(number))
        if form == "warc":
            return record(number, block, length=len(block) + (more and more + 3))  # behind CR LF CR LF
        return b"http://a.example/%d 192.0.2.1 20080430204826 text/html %d\n%s\n" % (
            number,
            len(block) + more,
            block,
        )

    path = tmp_path / f"a.{form}"
    path.write_bytes(stored(1, 0) + stored(2, by) + stored(3, 0) + stored(4, by) + stored(5, 0))
    items = read_all(path, form)
    assert [item.payload for item in records(items)] == [page(1), page(3), page(5)]
    # In a file that is read to its end what a header promises may have been there, and be cut off.
    assert [item.error in ("wrong_length", "truncated") for item in failures(items)] == [True] * 2


def test_a_length_beyond_every_bound_costs_none_but_its_own_record(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    lengths = {0: None, 1: 10**12, 2: 10**30, 3: None, 4: 3000, 5: None}
    path.write_bytes(b"".join(record(number, length=length) for number, length in lengths.items()))
    items = read_all(path, max_record_bytes=2000)
    assert [int(item.key[10:-1], 16) for item in records(items)] == [0, 3, 5]
    assert [item.error for item in failures(items)] == ["wrong_length"] * 3
    check_ranges_meet(ends(read_split(path, 700, max_record_bytes=2000)))


PACKERS = {"gz": member, "zst": zstandard.compress, "lz4": lz4.frame.compress}
# WARC 1.1, section 4: a record is its header, as many bytes as Content-Length says, and two line ends; what
# is written behind them is a record.
LENGTHS = {0: None, 1: 10**12, 2: None, 3: 10**30, 4: None, 5: 3000, 6: 4000, 7: None}


@pytest.mark.parametrize("ending", [*PACKERS])
def test_a_length_beyond_every_bound_in_one_member_costs_none_but_its_own_record(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"a.warc.{ending}"
    written = [record(number, length=length) for number, length in LENGTHS.items()]
    path.write_bytes(PACKERS[ending](b"".join(written)))
    items = read_all(path, max_record_bytes=2000)
    assert [int(item.key[10:-1], 16) for item in records(items)] == [0, 2, 4, 7]
    lost = [item.message for item in failures(items)]
    block = len(http(page(1))) + 4
    for length, message in zip((10**12, 10**30, 3000, 4000), lost, strict=True):
        assert message == f"the header promises {length} bytes, the next record starts after {block}"


def test_lengths_beyond_every_bound_before_the_end_of_a_cut_member_cost_what_is_cut(tmp_path: Path) -> None:
    stored = member(b"".join(record(number, length=length) for number, length in LENGTHS.items()))
    (tmp_path / "a.warc.gz").write_bytes(stored[:-12])
    items = read_all(tmp_path / "a.warc.gz", max_record_bytes=2000)
    assert [int(item.key[10:-1], 16) for item in records(items)][:3] == [0, 2, 4]
    assert failures(items)[-1].error == "truncated"


def test_a_large_record_with_records_in_it_in_one_member_is_one_loss(tmp_path: Path) -> None:
    # The same lines are a record's content where its length is true.
    inner = http(b"<pre>\r\n\r\n" + record(77) * 9 + b"</pre>")
    (tmp_path / "a.warc.gz").write_bytes(member(record(1) + record(2, inner) + record(3)))
    items = read_all(tmp_path / "a.warc.gz", max_record_bytes=2000)
    assert [int(item.key[10:-1], 16) for item in records(items)] == [1, 3]
    assert [item.error for item in failures(items)] == ["too_large"]


def test_what_is_not_the_whole_of_a_page_is_noted(tmp_path: Path) -> None:
    chunks = b"".join(b"10\r\n%s\r\n" % page(1)[at : at + 16] for at in range(0, 160, 16))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    block = http(page(1))
    cases = {
        record(1, head + chunks + b"0\r\n\r\n"): (),
        record(2, head + b"\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n"): (),
        record(3, head + chunks[:-9]): ("chunks_break_off",),
        record(4, head + chunks + b"no chunk"): ("chunks_damaged",),
        record(5, block, extra="WARC-Truncated: length\r\n"): ("cut_by_crawler",),
        record(6, block[:-30]): ("shorter_than_promised",),
        record(7, block, extra="WARC-Segment-Number: 01\r\n"): ("first_segment_only",),
        record(8, b"text", kind="conversion", extra="WARC-Truncated: time\r\n"): ("cut_by_crawler",),
        record(9, block, length=len(block) - 30): ("shorter_than_promised", "more_than_promised"),
    }
    (tmp_path / "a.warc").write_bytes(b"".join(cases))
    items = read_all(tmp_path / "a.warc")
    assert [item.notes for item in records(items)] == [*cases.values()]
    assert [item.error for item in failures(items)] == ["junk"]


def test_an_arc_is_read_with_blanks_in_urls_and_missing_fields(tmp_path: Path) -> None:
    body = http(b"<html>old</html>")
    version = b"1 0 Archive\nURL IP-address Archive-date Content-type Archive-length\n"
    parts = [
        b"filedesc://old.arc 0.0.0.0 20080430204825 text/plain %d\n%s" % (len(version), version),
        b"http://a.example/with a blank 10.0.0.1 20080430204826 text/html %d\n%s" % (len(body), body),
        b"dns:a.example 10.0.0.2 20080430204827 text/dns 4\nA 1\n",
        b"http://b.example/ 20080430204828 text/html %d\n%s" % (len(body), body),
    ]
    plain, zipped = tmp_path / "old.arc", tmp_path / "old.arc.gz"
    plain.write_bytes(b"\n".join(parts) + b"\n")
    zipped.write_bytes(b"".join(member(part + b"\n") for part in parts))
    for path in (plain, zipped):
        items = read_all(path, "arc")
        assert [item.kind for item in others(items)] == ["filedesc", "dns"]
        assert [item.url for item in records(items)] == ["http://a.example/with a blank", "http://b.example/"]
        assert records(items)[0].date == "2008-04-30T20:48:26Z"
        assert not failures(items)


def test_json_lines_split_anywhere_give_each_line_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"id": str(n), "text": "word " * (n % 40)}) + "\n" for n in range(100))
        + '{"id": "last", "text": "end"}'
    )
    wanted = [item.own_id for item in records(read_all(path, "jsonl"))]
    assert wanted[-1] == "last"
    for shard_bytes in (30, 333, 1000):
        split = read_split(path, shard_bytes)
        assert [item.own_id for item in records(split)] == wanted
        check_ranges_meet(ends(split))
    line = records(read_all(path, "jsonl"))[7]
    assert (
        json.loads(path.read_bytes()[line.origin.offset : line.origin.offset + line.origin.length])["id"]
        == "7"
    )


@pytest.mark.parametrize("shard_bytes", [1 << 20, 3000])
@pytest.mark.parametrize("pack", [member, zstandard.compress, lz4.frame.compress])
def test_plain_records_among_members_are_read_in_any_order(
    tmp_path: Path, pack: Callable[[bytes], bytes], shard_bytes: int
) -> None:
    data = [record(number) for number in range(12)]
    packed = [pack(one) for one in data]
    path = tmp_path / "a.warc.gz"
    wanted = [f"<urn:uuid:{number:032x}>" for number in range(12)]
    mixes = {
        "plain behind members": [*packed[:5], *data[5:]],
        "members behind plain": [*data[:5], *packed[5:]],
    }
    if shard_bytes > 3000:
        mixes["by turns"] = [data[n] if n // 3 % 2 else packed[n] for n in range(12)]
    for name, parts in mixes.items():
        path.write_bytes(b"".join(parts))
        split = read_split(path, shard_bytes)
        assert [item.key for item in records(split)] == wanted, name
        assert not failures(split), name
        check_ranges_meet(ends(split))


def test_a_record_in_segments_is_counted_by_name(tmp_path: Path) -> None:
    # WARC 1.1 section 7: the first is of its own type, the others are continuations.
    first = record(1, extra="WARC-Segment-Number: 1\r\n")
    rest = record(2, b"more of it", kind="continuation", extra="WARC-Segment-Number: 2\r\n")
    (tmp_path / "a.warc").write_bytes(first + rest + record(3))
    items = read_all(tmp_path / "a.warc")
    assert [item.notes for item in records(items)] == [("first_segment_only",), ()]
    assert [item.kind for item in others(items)] == ["continuation"]


@pytest.mark.parametrize(
    ("line", "url"),
    [
        # archive.org/web/researcher/ArcFileFormat.php; `-` where no address is known, tabs by some writers
        (b"http://a.example/x 192.0.2.1 20080430204826 text/html %d\n", "http://a.example/x"),
        (b"http://a.example/x - 20080430204826 text/html %d\n", "http://a.example/x"),
        (b"http://a.example/x\t192.0.2.1\t20080430204826\ttext/html\t%d\n", "http://a.example/x"),
        (b"http://a.example/caf\xe9 0.0.0.0 20080430204826 text/html %d\n", "http://a.example/caf\xe9"),
        ("http://a.example/caf\xe9 ::1 20080430204826 text/html %d\n".encode(), "http://a.example/caf\xe9"),
        (b"http://a.example/a b 192.0.2.1 20080430204826 text/html %d\n", "http://a.example/a b"),
        (b"http://a.example/x  192.0.2.1  20080430204826  text/html  %d\n", "http://a.example/x"),
        (
            b"http://a.example/x 20080101 y 192.0.2.1 20080430204826 text/html %d\n",
            "http://a.example/x 20080101 y",
        ),
        (
            b"http://a.example/x 192.0.2.1 20080430204826 text/html 200 ab - 12345678 a.arc %d\n",
            "http://a.example/x",
        ),
    ],
)
def test_headers_of_arc_records_are_read_as_they_were_written(tmp_path: Path, line: bytes, url: str) -> None:
    block = http(page(1))
    head = b"filedesc://a.arc 0.0.0.0 20080430204825 text/plain 10\n1 0 Crawl\n\n"
    (tmp_path / "a.arc").write_bytes(head + line % len(block) + block + b"\n" + line % len(block) + block)
    items = read_all(tmp_path / "a.arc", "arc")
    assert [item.url for item in records(items)] == [url, url]
    assert records(items)[0].date == "2008-04-30T20:48:26Z"
    assert not failures(items)
