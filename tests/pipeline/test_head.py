"""A head that no longer answers ends the run in words."""

from __future__ import annotations

import socket
import time

import pytest

from gristmill.errors import EngineError
from gristmill.pipeline.run.cluster import head
from gristmill.pipeline.run.cluster.head import Head


def test_a_head_that_stops_answering_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(head, "_LOST_SECONDS", 3.0)
    monkeypatch.setattr(head, "_STUCK_SECONDS", 600.0)
    server = socket.create_server(("127.0.0.1", 0), backlog=1000)
    port = server.getsockname()[1]
    watched = Head(f"127.0.0.1:{port}")
    try:
        time.sleep(0.1)
        watched.check()
        server.close()
        deadline = time.monotonic() + 120
        while not watched.is_lost and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(
            EngineError, match=rf"the head of the cluster, 127\.0\.0\.1:{port}, has not"
        ) as caught:
            watched.check()
        assert "the same command resumes" in str(caught.value)
    finally:
        watched.close()
