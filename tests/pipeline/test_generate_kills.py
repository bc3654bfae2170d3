"""Ten thousand prompts to a server that fails one request in twenty and is killed twice, and a client that
is: each answered once, nothing paid twice, books that balance, slots that are busy.

The figures go to standard output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.generate import GenerateFacts
from tests.pipeline.test_generate import recipe, rows, seeds
from tests.support.model_server import ROOT, Running, model_server

NUM, SLOTS, SECONDS = 10_000, 64, 0.25


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "gristmill.pipeline.cli",
        "run",
        str(folder / "r.yaml"),
        "--engine",
        "inline",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [*command, "--out", str(folder / "out")], stdout=log, stderr=log, env=environment, cwd=folder
        )


def wait_for(server: Running, num: int) -> None:
    while sum(server.paid().values()) < num:
        time.sleep(0.1)


def on_record(folder: Path) -> set[str]:
    """The requests whose answers the client has written down."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    return {
        json.loads(line)["answer"] for line in lines if line.startswith(b'{"answer"') and line[-1:] == b"}"
    }


def busy_share(server: Running) -> float:
    """Of the slots of a server that was up, the share that was busy, from its first answer to its last."""
    found = server.busy()
    busy = [number for number, (_, num) in enumerate(found) if num]
    between = [num for _, num in found[busy[0] : busy[-1] + 1]]
    return sum(between) / len(between) / SLOTS


@pytest.mark.slow
def test_ten_thousand_prompts_are_answered_once_by_a_server_that_fails_and_is_killed(tmp_path: Path) -> None:
    own = {"server": {"in_flight": 2 * SLOTS}}
    with model_server(tmp_path, slots=SLOTS, seconds=SECONDS, fails=0.05) as server:
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe(seeds(tmp_path, NUM), server.url, own)))
        client = start(tmp_path)

        def kills() -> None:
            for at in (NUM // 4, NUM // 2):
                wait_for(server, at)
                server.kill()
                time.sleep(1.0)
                server.start()

        killer = threading.Thread(target=kills)
        killer.start()
        code = client.wait()
        killer.join()
        assert code == 0, (tmp_path / "log.txt").read_text()
        paid, share = server.paid(), busy_share(server)
    assert len(paid) == NUM
    assert set(paid.values()) == {1}
    manifest = finished_steps(tmp_path / "out")["generate/books"]
    assert manifest.books
    manifest.books.balance("the step")
    assert manifest.books.items_in == manifest.books.items_out["kept"] == NUM
    made = rows(tmp_path / "out")
    assert len({row["request"] for row in made}) == len({row["seed"] for row in made}) == NUM
    assert not list(verify(tmp_path / "out"))
    said = {
        "prompts": NUM, "answered": len(made), "paid_twice": sum(num > 1 for num in paid.values()),
        "slots": SLOTS, "seconds_a_request": SECONDS, "fails": 0.05, "server_kills": 2,
        "retried": manifest.timing["retried"], "busy_share": round(share, 4),
    }  # fmt: skip
    print(
        json.dumps(said)
    )  # the share is of this machine's load, too: `benchmarks/generate.py` has it on record


@pytest.mark.crash
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_client_that_is_stopped_asks_nothing_again_that_was_answered(tmp_path: Path, kind: int) -> None:
    num = 600
    own = {"server": {"in_flight": 40}}
    with model_server(tmp_path, slots=32, seconds=0.1, fails=0.05) as server:
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe(seeds(tmp_path, num), server.url, own)))
        answered: dict[str, int] = {}  # requests on record, and how often they were paid when that was seen
        for at in (num // 4, num // 2):
            client = start(tmp_path)
            wait_for(server, at)
            client.send_signal(kind)
            assert client.wait() == (-kind if kind == signal.SIGKILL else 128 + kind)
            written, paid = on_record(tmp_path / "out" / "answers" / "books"), server.paid()
            answered = {request: paid[request] for request in written} | answered
        last = start(tmp_path)
        assert last.wait() == 0, (tmp_path / "log.txt").read_text()
        paid = server.paid()
    assert len(paid) == num
    assert len(answered) > num // 4
    assert not [request for request, times in answered.items() if paid[request] != times]
    # This server gives up what nobody waits for. Of a client that is killed outright the answers that were on
    # their way to it are lost, no more than it had in flight; one that is told to stop waits for them.
    again = sum(times - 1 for times in paid.values())
    assert again <= (2 * 40 if kind == signal.SIGKILL else 0)
    manifest = finished_steps(tmp_path / "out")["generate/books"]
    assert manifest.stated(GenerateFacts).requests == num
    assert len(rows(tmp_path / "out")) == num
    assert again <= manifest.timing["paid_twice"] <= manifest.timing["lost"] <= 80
    if kind == signal.SIGTERM:
        assert "requests in flight, which are paid" in (tmp_path / "log.txt").read_text()
        assert manifest.timing["lost"] == 0
