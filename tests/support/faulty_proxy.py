"""A reverse proxy on loopback that spoils chosen answers, the way networks and object stores do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

FAULTS = ("500", "503", "reset", "reset mid-body", "short body", "hang", "hang mid-body", "slow drip")
Answer = tuple[int, list[tuple[str, str]], bytes]


def reads_of_ranges(command: str, headers: object) -> bool:
    """The requests that bring an object's bytes."""
    return command == "GET" and "Range" in headers  # type: ignore[operator]


def every_request(command: str, headers: object) -> bool:
    return True


class FaultyProxy:
    """Passes requests on to `target`; of those that are `spoiled`, all but every `period`-th meet `fault`.

    Every second spoiled write is not passed on; of the others the store has done what was asked, and the
    answer goes astray.
    """

    def __init__(
        self,
        target: str,
        fault: str = "",
        period: int = 2,
        spoiled: Callable[[str, object], bool] = reads_of_ranges,
    ) -> None:
        self.fault, self.period, self.spoiled = fault, period, spoiled
        self.num_requests = self.num_faults = 0
        self._target = urlsplit(target).netloc
        self._stop = threading.Event()
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.answer(self)

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that give up on a hanging answer

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        fault = self._next_fault() if self.spoiled(request.command, request.headers) else ""
        length = int(request.headers.get("Content-Length") or 0)
        is_write = request.command not in ("GET", "HEAD")
        if fault and is_write and self.num_faults % 2:
            request.rfile.read(length // 2)  # the connection breaks with half of the body on its way
            if fault in ("500", "503"):
                request.rfile.read(length - length // 2)
                self._respond(request, int(fault), [], b"<Error><Code>SlowDown</Code></Error>", "")
            elif fault.startswith("hang"):
                self._stop.wait(30)
            request.close_connection = True
            return
        status, headers, data = self._ask(request, request.rfile.read(length))
        if fault in ("500", "503"):
            status, data, headers = (
                int(fault),
                b"<Error><Code>SlowDown</Code></Error>",
                [("Content-Type", "application/xml")],
            )
        if fault == "reset" or (fault and not data):  # an answer without a body cannot be cut within it
            if fault.startswith("hang"):
                self._stop.wait(30)
            request.close_connection = True
            return
        self._respond(request, status, headers, data, fault)

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._target, timeout=10)
        try:
            connection.request(request.command, request.path, body, dict(request.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding")
            ]
            return answer.status, headers, data
        finally:
            connection.close()

    def _respond(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
        fault: str,
    ) -> None:
        request.send_response_only(status)
        length = len(data)
        for name, value in headers:
            if name.lower() != "content-length":
                request.send_header(name, value)
            elif request.command == "HEAD":
                length = int(value)
        if status != 204:
            request.send_header("Content-Length", str(length))
        request.end_headers()
        if request.command != "HEAD":
            self._send(request, data, fault)

    def _next_fault(self) -> str:
        with self._lock:
            self.num_requests += 1
            if not self.fault or self.num_requests % self.period == 0:
                return ""
            self.num_faults += 1
            return self.fault

    def _send(self, request: BaseHTTPRequestHandler, data: bytes, fault: str) -> None:
        half = len(data) // 2
        if fault in ("reset mid-body", "short body"):
            request.wfile.write(data[:half])
            request.close_connection = True
        elif fault in ("hang", "hang mid-body"):
            request.wfile.write(data[: half if fault == "hang mid-body" else 0])
            request.wfile.flush()
            self._stop.wait(30)
            request.close_connection = True
        elif fault == "slow drip":
            for at in range(len(data)):
                request.wfile.write(data[at : at + 1])
                request.wfile.flush()
                if self._stop.wait(0.05):
                    break
            request.close_connection = True
        else:
            request.wfile.write(data)
            time.sleep(0)
