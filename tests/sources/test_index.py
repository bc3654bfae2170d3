"""Index listings as inputs: the records that their rows name, fetched by range, and no others."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.pipeline.sources.formats.index import IndexRow, _placer
from gristmill.pipeline.sources.record import InputRange, NotDocument
from gristmill.pipeline.sources.settings import SourceSettings
from tests.support import object_store
from tests.support.archives import failures, member, others, read_all, record, records

LANGUAGES = ["eng", "deu", "fra", "deu,eng"]


def archive(folder: Path) -> list[dict[str, Any]]:
    """Write an archive and return a row for each of its records, as Common Crawl's index has them."""
    data, rows = b"", []
    for number in range(12):
        stored = member(record(number))
        url = f"https://site{number % 7}.example/page/{number}"
        rows.append({"url": url, "mime": "text/html", "status": "200" if number != 5 else "404"})
        rows[-1] |= {"length": str(len(stored)), "offset": str(len(data)), "filename": "crawl/a.warc.gz"}
        rows[-1]["languages"] = LANGUAGES[number % 4]
        data += stored
    (folder / "crawl").mkdir(parents=True)
    (folder / "crawl" / "a.warc.gz").write_bytes(data)
    return rows


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Serves byte ranges, and notes which."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        self.asked.append(first)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Ranged.asked.clear()
    handler = functools.partial(Ranged, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}/"
        served.shutdown()
        thread.join()


def keys(items: list[Any]) -> list[int]:
    return [int(item.key[10:-1], 16) for item in records(items)]


def write_cdxj(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "a.cdxj"
    path.write_text("".join(f"example,site)/ 20250102030405 {json.dumps(row)}\n" for row in rows))
    return path


def test_rows_of_a_cdxj_fetch_their_records_by_range(tmp_path: Path, server: str) -> None:
    rows = archive(tmp_path)
    items = read_all(write_cdxj(tmp_path, rows), "cdx", prefix=server, select={"hosts": ["site3.example"]})
    assert keys(items) == [3, 10]
    assert sorted(Ranged.asked) == sorted(rows[number]["offset"] for number in (3, 10))
    (first, _) = records(items)
    assert (first.origin.file, first.origin.offset) == (f"{server}crawl/a.warc.gz", int(rows[3]["offset"]))
    assert first.origin.length == int(rows[3]["length"])
    skipped = others(items)
    assert [item.kind for item in skipped if isinstance(item, NotDocument)] == ["not_selected"] * 10


@pytest.mark.parametrize(
    "name", ["{}/other/b.warc.gz", "../other/b.warc.gz", "file://{}/other/b.warc.gz", "s3://mine/b.warc.gz"]
)
def test_a_row_that_leads_out_of_the_prefix_is_not_fetched(tmp_path: Path, name: str) -> None:
    """An index may be somebody else's: it names no file beside the prefix, and no bucket of the user's."""
    rows = archive(tmp_path / "here")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.warc.gz").write_bytes((tmp_path / "here/crawl/a.warc.gz").read_bytes())
    rows[3]["filename"] = name.format(tmp_path)
    items = read_all(write_cdxj(tmp_path, rows), "cdx", prefix=str(tmp_path / "here"))
    assert keys(items) == [n for n in range(12) if n not in (3, 5)]
    (failure,) = failures(items)
    assert (failure.error, failure.url) == ("outside", rows[3]["url"])
    assert "which does not lie below the prefix" in failure.message


def test_an_index_on_another_machine_names_no_file_of_this_one(tmp_path: Path) -> None:
    rows = archive(tmp_path)
    there = InputRange("https://a.example/a.cdxj", 1, "", 0, 1)
    place_of = _placer(there, SourceSettings(inputs=["x"]))
    assert place_of(row_of(rows[0], "s3://crawl/a.warc.gz")) == "s3://crawl/a.warc.gz"
    for name in ("/etc/passwd", "file:///etc/passwd", "../a.warc.gz"):
        with pytest.raises(ValueError, match="a place that a file of another machine may not name"):
            place_of(row_of(rows[0], name))


def row_of(row: dict[str, Any], filename: str) -> IndexRow:
    return IndexRow(filename, int(row["offset"]), int(row["length"]), row["url"])


def test_rows_are_selected_by_language_and_status_before_a_page_is_read(tmp_path: Path) -> None:
    path = write_cdxj(tmp_path, archive(tmp_path))
    prefix = str(tmp_path)
    assert keys(read_all(path, "cdx", prefix=prefix)) == [n for n in range(12) if n != 5]
    german = {"languages": ["de"]}
    assert keys(read_all(path, "cdx", prefix=prefix, select=german)) == [1, 3, 7, 9, 11]
    all_statuses = {"languages": ["de"], "statuses": []}
    assert keys(read_all(path, "cdx", prefix=prefix, select=all_statuses)) == [1, 3, 5, 7, 9, 11]


def test_cdx_lines_are_read_by_their_header(tmp_path: Path) -> None:
    rows = archive(tmp_path)
    lines = [" CDX N b a m s k r M S V g"]
    for row in rows:
        place = f"{row['length']} {row['offset']} {row['filename']}"
        lines.append(f"k 20250102030405 {row['url']} text/html {row['status']} SHA - - {place}")
    (tmp_path / "a.cdx").write_text("\n".join([*lines, "broken line"]) + "\n")
    items = read_all(tmp_path / "a.cdx", "cdx", prefix=str(tmp_path))
    assert keys(items) == [n for n in range(12) if n != 5]
    assert [failure.error for failure in failures(items)] == ["not_cdx"]


def test_the_columnar_index_is_an_input(tmp_path: Path) -> None:
    rows = archive(tmp_path)
    table = pa.table(
        {
            "url": [row["url"] for row in rows],
            "fetch_status": pa.array([int(row["status"]) for row in rows], pa.int16()),
            "content_mime_detected": ["text/html"] * 12,
            "content_languages": [row["languages"] for row in rows],
            "warc_filename": [row["filename"] for row in rows],
            "warc_record_offset": pa.array([int(row["offset"]) for row in rows], pa.int32()),
            "warc_record_length": pa.array([int(row["length"]) for row in rows], pa.int32()),
        }
    )
    pq.write_table(table, tmp_path / "part-0.parquet")
    select = {"languages": ["fra"]}
    items = read_all(tmp_path / "part-0.parquet", "ccindex", prefix=str(tmp_path), select=select)
    assert keys(items) == [2, 6, 10]


@pytest.mark.slow
def test_rows_are_fetched_from_an_object_store(tmp_path: Path) -> None:
    rows = archive(tmp_path)
    path = write_cdxj(tmp_path, rows)
    serving = object_store.serve("crawl-bucket")
    url = next(serving)
    stored = (tmp_path / "crawl" / "a.warc.gz").read_bytes()
    object_store.client(url).put_object(Bucket="crawl-bucket", Key="crawl/a.warc.gz", Body=stored)
    access = {"prefix": "s3://crawl-bucket", "storage_options": object_store.options(url)}
    items = read_all(path, "cdx", select={"hosts": ["site3.example"]}, **access)
    assert keys(items) == [3, 10]
    assert records(items)[0].origin.file == "s3://crawl-bucket/crawl/a.warc.gz"
    next(serving, None)


def test_what_an_index_names_in_vain_is_a_failed_row(tmp_path: Path, server: str) -> None:
    rows = archive(tmp_path)
    rows[0]["filename"] = "crawl/gone.warc.gz"
    rows[1]["length"] = "5"
    rows[2]["offset"] = str(10**9)
    rows[3]["length"] = str(10**12)
    path = write_cdxj(tmp_path, rows[:5])
    for prefix in (str(tmp_path), server):
        items = read_all(path, "cdx", prefix=prefix)
        assert keys(items) == [4]
        found = [failure.error for failure in failures(items)]
        assert [found[0], found[1], found[3]] == ["not_fetched", "truncated", "too_large"]
        assert len(found) == 4


def test_a_row_that_names_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    rows = archive(tmp_path)[:3]
    os.mkfifo(tmp_path / "crawl" / "pipe")
    rows[1]["filename"], rows[2]["filename"] = "crawl/pipe", "crawl"
    items = read_all(write_cdxj(tmp_path, rows), "cdx", prefix=str(tmp_path))
    assert len(records(items)) == 1
    assert [failure.error for failure in failures(items)] == ["not_fetched"] * 2
    assert all("a pipe, socket, device or folder" in failure.message for failure in failures(items))
