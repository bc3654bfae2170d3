"""What a store refuses for good is said once, with what to do, and not asked for again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gristmill.errors import InputError, RefusedError, UsageError
from gristmill.files.remote import Access
from gristmill.pipeline.sources import remote
from gristmill.pipeline.sources.remote import fetcher, list_remote

pytestmark = pytest.mark.filterwarnings("default")  # of the clients' sessions
Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Answers every request by `answer(method, path, headers)`, and counts them and the bytes it sent."""

    def __init__(self, answer: Callable[[str, str, Any], Answer]) -> None:
        self.asked: list[tuple[str, str]] = []
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append((self.command, self.path))
                status, headers, data = answer(self.command, self.path, self.headers)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for start in range(0, len(data) if self.command == "GET" else 0, 1 << 16):
                        self.wfile.write(data[start : start + (1 << 16)])
                        outer.sent += 1 << 16
                except OSError:
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def num_gets(self) -> int:
        return sum(method == "GET" for method, _ in self.asked)


@pytest.fixture
def serving() -> Iterator[Callable[[Callable[[str, str, Any], Answer]], Server]]:
    servers: list[Server] = []

    def serve(answer: Callable[[str, str, Any], Answer]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def s3(url: str) -> Access:
    return Access({"endpoint_url": url, "key": "k", "secret": "s", "skip_instance_cache": True})


def test_another_region_is_named_after_one_request(serving: Any) -> None:
    server = serving(lambda *_: (301, {"x-amz-bucket-region": "eu-west-1"}, b""))
    with pytest.raises(RefusedError, match="Moved Permanently") as caught:
        list_remote("s3://mill/a.gz", s3(server.url))
    assert "another region, eu-west-1: set AWS_REGION" in str(caught.value.hint)
    assert len(server.asked) <= 2


def test_a_refusal_without_a_reason_says_what_it_mostly_is(serving: Any) -> None:
    server = serving(lambda *_: (400, {}, b""))
    with pytest.raises(RefusedError) as caught:
        list_remote("s3://mill/a.gz", s3(server.url))
    assert "the region or the endpoint is another one" in str(caught.value.hint)
    assert len(server.asked) <= 2


def test_an_endpoint_that_is_no_url_is_said_before_it_is_asked() -> None:
    with pytest.raises(UsageError, match="begins with neither `http://` nor `https://`"):
        list_remote("s3://mill/a.gz", s3("127.0.0.1:9000"))


def test_an_endpoint_that_nobody_answers_at_is_to_be_checked() -> None:
    access = Access({**s3("http://127.0.0.1:1").options}, attempts=1)
    with pytest.raises(InputError) as caught:
        list_remote("s3://mill/a.gz", access)
    assert "check it, and `endpoint_url`" in str(caught.value.hint)


def test_an_ftp_server_that_is_not_there_is_no_traceback() -> None:
    with pytest.raises(InputError, match="cannot open a connection: ConnectionRefusedError"):
        list_remote("ftp://127.0.0.1:1/a.gz", Access())


@pytest.mark.parametrize(("url", "package"), [("gs://b/a.gz", "gcsfs"), ("az://b/a.gz", "adlfs")])
def test_a_scheme_whose_package_is_absent_names_it(url: str, package: str) -> None:
    pytest.importorskip("fsspec")
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(UsageError) as caught:
            list_remote(url, Access())
        assert f"`pip install {package}`" in str(caught.value.hint)


DATA = bytes(range(256)) * 1000


def whole(method: str, path: str, headers: Any) -> Answer:
    return 200, {"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, DATA


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_the_one_body_of_a_server_that_ignores_ranges_serves_all_of_them(serving: Any, kind: str) -> None:
    server = serving(whole)
    access = s3(server.url) if kind == "s3" else Access()
    url = "s3://mill/a.bin" if kind == "s3" else f"{server.url}/a.bin"
    (source,) = list_remote(url, access)
    fetch = fetcher(source, access)
    before = server.num_gets
    assert [fetch(start, start + 5000) for start in range(0, 100_000, 5000)] == [
        DATA[start : start + 5000] for start in range(0, 100_000, 5000)
    ]
    assert server.num_gets - before == 1


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_a_large_file_of_a_server_that_ignores_ranges_is_refused_before_it_is_sent(
    serving: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_MOST_WHOLE_BYTES", 1 << 20)
    data = bytes(64 << 20)
    server = serving(lambda *_: (200, {"ETag": '"1"'}, data))
    access = s3(server.url) if kind == "s3" else Access()
    url = "s3://mill/a.bin" if kind == "s3" else f"{server.url}/a.bin"
    (source,) = list_remote(url, access)
    before, server.sent = server.num_gets, 0
    with pytest.raises(RefusedError, match=r"ignores ranges: it sends all of 67,108,864 bytes"):
        fetcher(source, access)(0, 5000)
    assert server.num_gets - before == 1 and server.sent < 32 << 20
