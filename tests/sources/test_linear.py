"""What a stranger writes is read in time that grows with its length: four times the bytes, about four times
the CPU seconds.

A quadratic reader takes sixteen times as long. Each adversary is read at n and 4n, n large enough that a
start-up cost does not count; the best of three runs stands for each.
"""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import brotli
import lz4.frame
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from gristmill.pipeline.extract.decoding.charset import decode_utf8
from gristmill.pipeline.extract.decoding.content import TooLarge, decode_content
from gristmill.pipeline.extract.gates import make_gates
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.extract.statements import of_head, of_page
from gristmill.pipeline.phases.rights.robots import Rules, normal_path, parse, rules_for
from gristmill.pipeline.sources.archives.chunks import dechunk, dechunk_unannounced
from gristmill.pipeline.sources.archives.httpmessage import charset_of, parse_headers, parse_response
from gristmill.pipeline.sources.formats.arc import ARC
from gristmill.pipeline.sources.formats.warc import WARC
from gristmill.pipeline.sources.record import Origin, Record
from gristmill.pipeline.sources.rows.arrow_bounds import with_long_entries
from gristmill.pipeline.synthesis.answers import Answer
from gristmill.pipeline.synthesis.checks import judge
from gristmill.pipeline.synthesis.prompts import passages
from gristmill.pipeline.synthesis.settings import Checks
from tests.support.archives import failures, read_all, records

_gate = make_gates(ExtractSettings(block_domains=["a.example"]))


def gated(body: bytes) -> object:
    return _gate(Record("k", "http://b.example/", None, Origin("f", 0, 0), len(body), payload=body))


def headers(lines: bytes) -> object:
    return parse_headers(b"HTTP/1.1 200 OK\r\n" + lines)


def arc(rest: bytes) -> object:
    return ARC.find_restart(b"\nhttp://a" + rest + b"\n", 0)


def page(body: bytes) -> object:
    return decode_utf8(b"\xe9" + body, None)


def judged(text: str, passage: str = "") -> object:
    return judge(Checks(), Answer(text, "length", 1, 1), "Write of it.", passage)


BY = b"https://creativecommons.org/licenses/by/4.0/ "
READERS: dict[str, tuple[Callable[[int], object], int]] = {
    "blanks after charset=": (lambda n: charset_of("text/html; charset=" + " " * n + ";"), 20_000),
    "blanks before an equals sign": (lambda n: charset_of("charset" + " " * n), 200_000),
    "folded header lines": (lambda n: headers(b"X: a\r\n" + b" a\r\n" * n), 50_000),
    "a repeated header": (lambda n: headers(b"X: a\r\n" * n), 50_000),
    "carriage returns in a head": (lambda n: parse_response(b"HTTP/1.1 200 OK\n" + b"\r" * n), 200_000),
    "a status line without an end": (lambda n: parse_response(b"HTTP/1 " + b"\r" * n), 200_000),
    "a body of line ends": (lambda n: gated(b"\r\n" * n), 20_000),
    "blanks around a byte order mark": (lambda n: gated(b" " * n + b"\xef\xbb\xbf" + b" " * n), 20_000),
    "chunks of one byte": (lambda n: dechunk(b"1\r\na\r\n" * n), 20_000),
    "chunks that no header speaks of": (
        lambda n: dechunk_unannounced(b"10\r\n%s\r\n" % bytes(16) + b"1\r\na\r\n" * n),
        20_000,
    ),
    "fields of a trailer": (
        lambda n: dechunk_unannounced(b"1\r\na\r\n0\r\n" + b"a:a\r\n" * n + b"\0"),
        20_000,
    ),
    "charset= and blanks in a page": (lambda n: page((b"<meta charset=" + b" " * 1900) * n), 10),
    "unclosed meta elements": (lambda n: page(b"<meta " * n), 20_000),
    "an XML declaration of blanks": (lambda n: page(b"<?xml" + b" " * n), 100_000),
    "dates in a line of ARC": (lambda n: arc(b" 12345678" * n), 20_000),
    "lines like ARC records": (lambda n: arc(b" 1\nhttp://a" * n), 20_000),
    "blanks before dates in a line of ARC": (lambda n: arc(b"  12345678" * n + b" " * n + b"1"), 20_000),
    "digits in a line of ARC": (lambda n: arc(b" 12345678 " + b" 1" * n), 20_000),
    "version digits of a WARC record": (lambda n: WARC.find_restart(b"\n\nWARC/1." + b"1" * n, 0), 100_000),
    "unclosed metas of a head": (lambda n: of_page(b"<meta name=robots content=no " * n), 3_000),
    "attributes of a meta": (lambda n: of_page(b"<meta no " + b"a=" * n + b">"), 50_000),
    "addresses of a licence": (lambda n: of_page(BY * n), 3_000),
    "addresses in links": (lambda n: of_page(b"<a href=" + BY + b" rel=x>" + BY * n), 3_000),
    "marks in a footer": (lambda n: of_page((b"<a href=" + BY + b">") * n + b"footer" * n), 3_000),
    "other addresses of the licences' host": (lambda n: of_page(b"creativecommons.org//" * n), 10_000),
    "directives of a header": (lambda n: of_head({"x-robots-tag": "a: noai, " * n}), 10_000),
    "links of a header": (lambda n: of_head({"link": "<https://creativecommons.org" * n}), 5_000),
    "groups of robots.txt": (lambda n: rules_for(parse(b"user-agent: *\ndisallow: /a\n" * n), "a"), 3_000),
    "stars of a pattern": (lambda n: Rules([(False, "/" + "*a" * n + "b")]).allows("/" + "a" * n), 10_000),
    "escapes of a path": (lambda n: normal_path("%41%zz" * n), 20_000),
    "reasoning of an answer without end": (lambda n: judged("<think>" + "a <think> " * n), 10_000),
    "a preface without a colon": (lambda n: judged("Here is " * n), 10_000),
    "an answer of sentence ends": (lambda n: judged("a." + ".) ." * n), 10_000),
    "an answer of sorries": (lambda n: judged("I'm not able to a a " * n), 10_000),
    "an answer that repeats its seed": (lambda n: judged("a b " * n, "a b " * n), 10_000),
    "passages of a text without blanks": (lambda n: list(passages("x" * n, 1000, n)), 200_000),
    "blank lines of carriage returns": (lambda n: WARC.find_restart(b"\n\r\r\r" * n, 0), 50_000),
}  # fmt: skip


def seconds(read: Callable[[int], object], size: int) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        read(size)
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.parametrize("name", READERS)
def test_reading_takes_time_in_proportion_to_length(name: str) -> None:
    read, size = READERS[name]
    once, fourfold = seconds(read, size), seconds(read, 4 * size)
    assert fourfold < 10 * once + 0.02


def test_headers_that_are_folded_join_with_blanks() -> None:
    assert headers(b"X: a\r\n b\r\n\t c\r\nY: d") == {"x": "a b c", "y": "d"}


def test_a_dictionary_frame_that_inflates_without_bound_is_one_failure(tmp_path: Path) -> None:
    bomb = zstandard.compress(bytes(40 << 20))
    frame = b"\x5d\x2a\x4d\x18" + len(bomb).to_bytes(4, "little") + bomb
    (tmp_path / "a.warc.zst").write_bytes(frame + zstandard.compress(b"WARC/1.0\r\n"))
    for format_ in ("warc", "jsonl", "text"):
        (failure,) = failures(read_all(tmp_path / "a.warc.zst", format_))
        assert failure.error == "too_large"
        assert "dictionary" in failure.message


def test_a_damaged_dictionary_is_one_failure(tmp_path: Path) -> None:
    broken = zstandard.compress(b"dictionary" * 50)[:-20]
    frame = b"\x5d\x2a\x4d\x18" + len(broken).to_bytes(4, "little") + broken
    (tmp_path / "a.warc.zst").write_bytes(frame)
    assert [failure.error for failure in failures(read_all(tmp_path / "a.warc.zst"))] == ["damaged_member"]


def test_bytes_like_members_without_end_are_passed_over_quickly(tmp_path: Path) -> None:
    # A gzip header whose file name never ends: inflating from each of them reads on to the end of the file.
    def read(num: int) -> None:
        (tmp_path / "a.warc.gz").write_bytes(b"\x1f\x8b\x08\x08junk" * num)
        assert not records(read_all(tmp_path / "a.warc.gz"))

    once, fourfold = seconds(read, 1000), seconds(read, 4000)
    assert fourfold < 10 * once + 0.02


GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"


def stored(data: bytes) -> bytes:
    """A block of DEFLATE that holds bytes as they are."""
    return b"\0" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def sharing_a_tail(num: int, tail_bytes: int) -> bytes:
    """Members, each in a stored block of the one before, that all go on into one long tail with a wrong
    checksum: from each of them a record starts, and each inflates the tail."""
    body = b""
    for _ in range(num):
        body = GZIP_HEAD + stored(b"WARC/1.0\r\n\r\n") + stored(body)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return body + deflate.compress(bytes(tail_bytes)) + deflate.flush() + bytes(8)


LIE = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 60000000\r\n\r\n\r\n\r\n"
FAR_LIE = LIE.replace(b"60000000", b"%d" % 10**15)
LZ4_FRAME = lz4.frame.compress(b"WARC/1.0\r\n", block_size=lz4.frame.BLOCKSIZE_MAX4MB, store_size=False)
LZ4_WAITS = LZ4_FRAME[:7] + struct.pack("<I", 4 << 20)  # a frame whose first block has four megabytes
ZSTD_WAITS = b"\x28\xb5\x2f\xfd\x00\x58" + struct.pack("<I", 2 << 1 | ((1 << 17) - 1) << 3)[:3]
FILES: dict[str, tuple[str, Callable[[int], bytes], int]] = {
    "members that share a tail": ("a.warc.gz", lambda n: sharing_a_tail(n, n << 15), 150),
    "rows that share a tail": (
        "a.jsonl.gz",
        lambda n: sharing_a_tail(n, n << 15).replace(b"WARC/1.0\r\n\r\n", b'{"a": 1}\n\n\n\n'),
        150,
    ),
    "headers that promise all that follows": ("a.warc", lambda n: LIE * n, 2000),
    "such headers in a member": ("a.warc.gz", lambda n: gzip.compress(LIE * n, 1), 2000),
    "headers in a member that promise more than is kept": (
        "a.warc.gz",
        lambda n: gzip.compress(FAR_LIE * n, 1),
        2000,
    ),
    "lz4 frames of long blocks": ("a.warc.lz4", lambda n: LZ4_FRAME + LZ4_WAITS * n, 4000),
    "zstd frames of long blocks": (
        "a.warc.zst",
        lambda n: zstandard.compress(b"WARC/1.0\r\n") + ZSTD_WAITS * n,
        2000,
    ),
    "skippable frames": (
        "a.warc.zst",
        lambda n: zstandard.compress(b"WARC/1.0\r\n") + b"\x50\x2a\x4d\x18\0\0\0\0" * n,
        20_000,
    ),
    "lists in lists": ("a.jsonl", lambda n: b'{"text": ' + b"[" * n + b"\n", 50_000),
    "an array that does not end": ("a.json", lambda n: b'[{"a": 1},' + b'"\\"' * n, 50_000),
    "digits": ("a.jsonl", lambda n: b'{"text": "a", "id": ' + b"1" * n + b"}\n", 50_000),
    "lines of an index": ("a.cdx", lambda n: b" CDX" + b" a" * n + b"\n" + b"a " * n, 50_000),
    "objects in an index": ("a.cdxj", lambda n: b"a {" * n + b"}", 50_000),
    "quotes in a table": ("a.csv", lambda n: b"text\n" + b'"' * n, 50_000),
    "columns of a table": ("a.csv", lambda n: b"a," * n + b"text\n" + b"1," * n, 20_000),
}


@pytest.mark.parametrize("name", FILES)
def test_reading_a_file_takes_time_in_proportion_to_length(tmp_path: Path, name: str) -> None:
    named, make, size = FILES[name]

    def read(num: int) -> None:
        (tmp_path / f"{num}-{named}").write_bytes(make(num))
        read_all(tmp_path / f"{num}-{named}")

    once, fourfold = seconds(read, size), seconds(read, 4 * size)
    assert fourfold < 10 * once + 0.05


def test_members_behind_broken_ones_are_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.pipeline.sources.archives.members._MAX_WASTED_BYTES", 1 << 20)
    whole = gzip.compress(b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: 2\r\n\r\nok\r\n\r\n")
    for tail in (1 << 10, 64 << 20):  # the second is more than broken members may inflate to
        (tmp_path / "a.warc.gz").write_bytes(sharing_a_tail(3, tail) + whole)
        found = read_all(tmp_path / "a.warc.gz")
        assert [record.payload for record in records(found)] == [b"ok"]


def test_a_record_behind_one_that_promises_too_much_is_read(tmp_path: Path) -> None:
    whole = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: 2\r\n\r\nok\r\n\r\n"
    for name, data in (("a.warc", LIE * 3 + whole * 2), ("a.warc.gz", gzip.compress(LIE * 3 + whole * 2))):
        (tmp_path / name).write_bytes(data)
        found = read_all(tmp_path / name)
        assert [failure.error for failure in failures(found)] == ["truncated"] * 3
        assert [record.payload for record in records(found)] == [b"ok", b"ok"]


def test_a_body_of_brotli_is_bounded_in_memory() -> None:
    body = brotli.compress(bytes(64 << 20), quality=5)
    assert len(body) < 4000
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decode_content(body, "br", 8 << 20)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_rows_that_a_file_only_claims_are_one_failure(tmp_path: Path) -> None:
    nothing = pa.Array.from_buffers(pa.null(), 1 << 30, [None])
    nulls = pa.RecordBatch.from_arrays([nothing], ["text"])
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), nulls.schema) as writer:
        writer.write_batch(nulls)
    (failure,) = failures(read_all(tmp_path / "a.arrow", "arrow"))
    assert "1,073,741,824 rows are claimed by a file of" in failure.message
    pq.write_table(pa.table({"text": pa.nulls(2 << 20, pa.string())}), tmp_path / "a.parquet")
    (failure,) = failures(read_all(tmp_path / "a.parquet", "parquet"))
    assert failure.error == "damaged_row_group" and "2,097,152 rows are claimed" in failure.message


@pytest.mark.parametrize("offset", [-1, 10**400, 1 << 70, 1e300])
def test_an_offset_beyond_any_file_is_a_failed_line_of_an_index(tmp_path: Path, offset: float) -> None:
    said = {"url": "http://a.org/", "filename": str(tmp_path / "a.warc.gz"), "offset": offset, "length": "10"}
    (tmp_path / "a.cdxj").write_text(f"org,a)/ 2024 {json.dumps(said)}\n")
    (failure,) = failures(read_all(tmp_path / "a.cdxj", "cdx"))
    assert failure.error == "not_cdx"


def peak_of_reading(path: Path, kind: str, **settings: object) -> tuple[Counter[str], int]:
    """Read a file in a process of its own; return its items by kind, and what memory grew by meanwhile."""
    run = subprocess.run(
        [sys.executable, "-c", READ_ALONE, str(path), kind, json.dumps(settings)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    return Counter(found["items"]), found["bytes"]


READ_ALONE = """
import json, sys
from collections import Counter
from pathlib import Path
import numpy, pyarrow.compute, pyarrow.parquet
from gristmill.pipeline.run.attempt import peak_bytes
from gristmill.pipeline.sources.listing import whole_file
from gristmill.pipeline.sources.read import read_items
from gristmill.pipeline.sources.record import InputShard
from gristmill.pipeline.sources.settings import SourceSettings
path, kind, said = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
settings, before, items = SourceSettings(inputs=[path], **said), peak_bytes(), Counter()
for item in read_items(InputShard(kind, (whole_file(path),)), settings):
    items[getattr(item, "error", type(item).__name__)] += len(item) if hasattr(item, "texts") else 1
print(json.dumps({"items": items, "bytes": peak_bytes() - before}))
"""


def test_a_text_that_a_dictionary_holds_once_is_not_spelled_out_for_all_rows(tmp_path: Path) -> None:
    text, rows = "the mill " * 200_000, 300  # 1.8 MB in a file of a kilobyte, 540 MB spelled out
    places = pa.array([0] * rows, pa.int32())
    table = pa.table({"text": pa.DictionaryArray.from_arrays(places, pa.array([text]))})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=False, dictionary_pagesize_limit=1 << 30)
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    for name, kind in (("a.parquet", "parquet"), ("a.arrow", "arrow")):
        items, grown = peak_of_reading(tmp_path / name, kind)
        assert items == {"TextRows": rows, "RangeEnd": 1}
        assert grown < 400 << 20, (name, grown >> 20)


def test_texts_that_no_row_count_makes_large_are_read_plain(tmp_path: Path) -> None:
    """A dictionary may be large by its many entries: what counts is the longest, in every row."""
    short, long = [f"mill {number} " * 20 for number in range(4000)], "the mill " * 20_000
    for name, texts in (("short", short), ("long", [*short[:10], long])):
        pq.write_table(pa.table({"text": texts}), tmp_path / name)
        file = pq.ParquetFile(tmp_path / name, read_dictionary=["text"])
        first = next(file.iter_batches(1, columns=["text"]))
        assert with_long_entries(first, ["text"], 4096) == (["text"] if name == "long" else [])
        assert with_long_entries(first, ["text"], 1) == []


def test_rows_of_large_texts_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    with pq.ParquetWriter(
        tmp_path / "a.parquet", pa.schema([("text", pa.string())]), compression="zstd", use_dictionary=False,
        data_page_size=1 << 20, write_batch_size=1,
    ) as writer:  # fmt: skip
        writer.write_table(pa.table({"text": ["the mill " * 500_000] * 100}))  # 450 MB in one row group
    items, grown = peak_of_reading(tmp_path / "a.parquet", "parquet")
    assert items["TextRows"] == 100
    assert grown < 200 << 20, grown >> 20


def test_a_row_of_more_values_than_its_file_stands_for_is_a_failure(tmp_path: Path) -> None:
    many = pa.ListArray.from_arrays(pa.array([0, 2 << 20], pa.int32()), pa.array(np.zeros(2 << 20, np.int8)))
    pq.write_table(pa.table({"text": ["mill"], "tags": many}), tmp_path / "a.parquet")
    (failure,) = failures(read_all(tmp_path / "a.parquet", "parquet", passthrough={"tags": "json"}))
    assert "2,097,152 values are claimed" in failure.message


def test_memory_that_is_not_there_is_no_damage_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"text": ["mill"]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)

    def no_memory(*_: object, **__: object) -> None:
        raise pa.lib.ArrowMemoryError("malloc of size 4096 failed")

    for kind in ("parquet", "arrow"):
        monkeypatch.setattr(f"gristmill.pipeline.sources.formats.{kind}.read_batch", no_memory)
        with pytest.raises(MemoryError):
            read_all(tmp_path / f"a.{kind}", kind)
