"""What a stranger writes is read in time that grows with its length: four times the bytes, about four times
the CPU seconds.

A quadratic reader takes sixteen times as long. Each adversary is read at n and 4n, n large enough that a
start-up cost does not count; the best of three runs stands for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from gristmill.pipeline.extract.charset import decode_utf8
from gristmill.pipeline.extract.gates import make_gates
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.sources.formats.arc import ARC
from gristmill.pipeline.sources.formats.warc import WARC
from gristmill.pipeline.sources.httpmessage import charset_of, dechunk, parse_headers, parse_response
from gristmill.pipeline.sources.record import Origin, Record
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


READERS: dict[str, tuple[Callable[[int], object], int]] = {
    "blanks after charset=": (lambda n: charset_of("text/html; charset=" + " " * n + ";"), 20_000),
    "blanks before an equals sign": (lambda n: charset_of("charset" + " " * n), 200_000),
    "folded header lines": (lambda n: headers(b"X: a\r\n" + b" a\r\n" * n), 50_000),
    "a repeated header": (lambda n: headers(b"X: a\r\n" * n), 50_000),
    "carriage returns in a head": (lambda n: parse_response(b"HTTP/1.1 200 OK\n" + b"\r" * n), 200_000),
    "a body of line ends": (lambda n: gated(b"\r\n" * n), 20_000),
    "blanks around a byte order mark": (lambda n: gated(b" " * n + b"\xef\xbb\xbf" + b" " * n), 20_000),
    "chunks of one byte": (lambda n: dechunk(b"1\r\na\r\n" * n), 20_000),
    "charset= and blanks in a page": (lambda n: page((b"<meta charset=" + b" " * 1900) * n), 10),
    "unclosed meta elements": (lambda n: page(b"<meta " * n), 20_000),
    "an XML declaration of blanks": (lambda n: page(b"<?xml" + b" " * n), 100_000),
    "dates in a line of ARC": (lambda n: arc(b" 12345678" * n), 20_000),
    "lines like ARC records": (lambda n: arc(b" 1\nhttp://a" * n), 20_000),
    "digits in a line of ARC": (lambda n: arc(b" 12345678 " + b" 1" * n), 20_000),
    "version digits of a WARC record": (lambda n: WARC.find_restart(b"\n\nWARC/1." + b"1" * n, 0), 100_000),
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
