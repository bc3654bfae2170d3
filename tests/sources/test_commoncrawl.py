"""A Common Crawl snapshot, from a loopback server laid out as the real one."""

from __future__ import annotations

import functools
import gzip
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from gristmill.errors import InputError, UsageError
from gristmill.pipeline.sources.commoncrawl import CommonCrawl, sample
from gristmill.pipeline.sources.plan import check_ranges_meet, plan_shards
from gristmill.pipeline.sources.read import read_records
from gristmill.pipeline.sources.settings import SourceSettings
from tests.support.archives import ends, failures, member, record, records
from tests.support.faulty_proxy import FaultyProxy

SNAPSHOT = "CC-MAIN-2025-05"
NUM_FILES, NUM_RECORDS = 6, 20


class RangeHandler(SimpleHTTPRequestHandler):
    """Static files with byte ranges, as the real server answers."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("Range")
        if not asked or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data) - 1) + 1, len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(data[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "served"
    paths = [
        f"crawl-data/{SNAPSHOT}/segments/1/warc/{SNAPSHOT}-{number:05d}.warc.gz"
        for number in range(NUM_FILES)
    ]
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(
            b"".join(member(record(number * NUM_RECORDS + at)) for at in range(NUM_RECORDS))
        )
    (root / f"crawl-data/{SNAPSHOT}/warc.paths.gz").write_bytes(
        gzip.compress("".join(f"{path}\n" for path in paths).encode())
    )
    (root / f"crawl-data/{SNAPSHOT}/wet.paths.gz").write_bytes(b"not gzip")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(RangeHandler, directory=str(root)))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def crawl_of(base: str, **values: object) -> SourceSettings:
    crawl = {"snapshot": SNAPSHOT, "base": base, "requests_per_second": 1000, **values}
    return SourceSettings.model_validate({"commoncrawl": crawl, "request_seconds": 5.0})


def test_a_snapshot_is_resolved_sampled_and_read_through_refusals(server: str) -> None:
    with FaultyProxy(server, "503", period=3) as proxy:
        source = crawl_of(proxy.url, files=3, seed=7)
        shards = plan_shards(source, 4000)
        items = [item for shard in shards for item in read_records(shard, source)]
        assert len(records(items)) == 3 * NUM_RECORDS
        assert not failures(items)
        assert proxy.num_faults
        assert len({end.path for end in ends(items)}) == 3
        check_ranges_meet(ends(items))


def test_planning_again_asks_for_nothing(server: str) -> None:
    source = crawl_of(server, files=2)
    first = plan_shards(source, 1 << 20)
    gone = crawl_of(
        server, files=2, requests_per_second=0.001
    )  # a single request would take a quarter of an hour
    assert plan_shards(gone, 1 << 20) == first


def test_a_larger_sample_extends_a_smaller_one() -> None:
    paths = [f"crawl-data/{SNAPSHOT}/{number}.warc.gz" for number in range(100)]
    samples = [
        set(sample(paths, CommonCrawl(snapshot=SNAPSHOT, files=files, seed=3))) for files in (5, 20, 100)
    ]
    assert samples[0] < samples[1] < samples[2]
    assert samples[0] == set(sample(list(reversed(paths)), CommonCrawl(snapshot=SNAPSHOT, files=5, seed=3)))
    assert samples[0] != set(sample(paths, CommonCrawl(snapshot=SNAPSHOT, files=5, seed=4)))


def test_what_a_snapshot_does_not_have_is_told(server: str) -> None:
    with pytest.raises(UsageError, match=r"`commoncrawl\.files` is 7, but CC-MAIN-2025-05 has 6 warc files"):
        plan_shards(crawl_of(server, files=7), 1 << 20)
    with pytest.raises(InputError, match="FileNotFoundError"):
        plan_shards(crawl_of(server, snapshot="CC-MAIN-1999-01"), 1 << 20)
    with pytest.raises(InputError, match="list of files cannot be read"):
        plan_shards(crawl_of(server, kind="wet"), 1 << 20)
    with pytest.raises(ValidationError, match="String should match pattern"):
        CommonCrawl(snapshot="2025-05")
    with pytest.raises(ValidationError, match="give either `inputs` or `commoncrawl`"):
        SourceSettings.model_validate({"inputs": "a.warc", "commoncrawl": {"snapshot": SNAPSHOT}})
