"""A head that no longer answers, or a raylet of this machine that has ended, ends the run in words."""

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


def test_a_raylet_of_this_machine_that_refuses_is_named_though_the_head_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head, "_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(head, "_RAYLET_STUCK_SECONDS", 600.0)
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        raylet = socket.create_server(("127.0.0.1", 0), backlog=1000)
        names = [f"127.0.0.1:{one.getsockname()[1]}" for one in (server, raylet)]
        watched = Head(names[0], None, names[1])
        try:
            time.sleep(0.1)
            watched.check(now=True)
            raylet.close()
            with pytest.raises(EngineError, match=f"the raylet at {names[1]}, has ended") as caught:
                watched.check(now=True)
            assert "start this machine's Ray again" in str(caught.value)
            deadline = time.monotonic() + 30
            while not watched.is_lost and time.monotonic() < deadline:
                time.sleep(0.05)
            with pytest.raises(EngineError, match="the same command resumes"):
                watched.check()
        finally:
            watched.close()
