"""How busy a model server is kept: ours with faults and kills, beside plain threads without either.

    python benchmarks/generate.py [--quick] [--json]

A server on loopback with 64 slots of 0.25 s each (tests/support/model_server.py) answers 5 % of requests with
500 and is killed and started again twice; measured is the share of its slots that are busy while it is up,
from the first answer to the last. Peer: a pool of threads with `urllib`, a request a thread, on a server that
neither fails nor dies; it writes nothing down.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gristmill.pipeline.synthesis.answers import AnswerRecord
from gristmill.pipeline.synthesis.client import Asker, Request
from gristmill.pipeline.synthesis.prompts import request_body, request_digest
from gristmill.pipeline.synthesis.settings import Budget, GenerateSettings, Server
from gristmill.pipeline.synthesis.spending import Spending, most_tokens_in
from tests.support.model_server import Running, model_server

SLOTS, SECONDS, FAILS = 64, 0.25, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2,000 prompts instead of 10,000")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    num = 2_000 if arguments.quick else 10_000
    settings = GenerateSettings(server=Server(model="made-up", in_flight=2 * SLOTS))
    prompts = [f"Prompt number {n}: write of the mill by the river. " * 8 for n in range(num)]
    ours = measured(settings, prompts, with_faults, fails=FAILS)
    peer = measured(settings, prompts, plainly)
    found: dict[str, Any] = {
        "what": f"share of {SLOTS} slots of {SECONDS} s kept busy by {num:,} requests; ours with {FAILS:.0%}"
        " of answers failed and the server killed twice",
        "unit": "share",
        "ours": ours["busy"],
        "peers": {"threads and urllib, no faults": peer["busy"]},
        "ratio": {"threads and urllib, no faults": round(ours["busy"] / peer["busy"], 3)},
        "requests_paid_twice": ours["twice"],
        "answered": ours["answered"],
        "cpu_seconds": {"ours": ours["cpu"], "threads and urllib, no faults": peer["cpu"]},
        "load": [round(load, 1) for load in os.getloadavg()],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {"python": platform.python_version(), "aiohttp": version("aiohttp")},
    }
    print(json.dumps(found) if arguments.json else json.dumps(found, indent=1))


def measured(
    settings: GenerateSettings,
    prompts: list[str],
    ask: Callable[[Running, GenerateSettings, list[str], Path], None],
    **faults: float,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with model_server(folder, slots=SLOTS, seconds=SECONDS, **faults) as server:
            began = time.process_time()
            ask(server, settings, prompts, folder)
            cpu, paid = time.process_time() - began, server.paid()
            return {
                "busy": round(busy_share(server), 4),
                "answered": len(paid),
                "twice": sum(times > 1 for times in paid.values()),
                "cpu": round(cpu, 1),
            }


def with_faults(server: Running, settings: GenerateSettings, prompts: list[str], folder: Path) -> None:
    asked = settings.server.model_copy(update={"url": server.url})
    bodies = [request_body(settings, prompt) for prompt in prompts]
    requests = [
        Request(request_digest(settings, body), body, most_tokens_in(prompt), 1024)
        for body, prompt in zip(bodies, prompts, strict=True)
    ]

    def kill() -> None:
        for at in (len(prompts) // 4, len(prompts) // 2):
            while sum(server.paid().values()) < at:
                time.sleep(0.2)
            server.kill()
            time.sleep(1.0)
            server.start()

    killer = threading.Thread(target=kill)
    killer.start()
    with AnswerRecord(folder / "answers", 0, 0) as record:
        Asker(asked, record, Spending(Budget()), None, lambda done: None).run(requests)
        assert len(record.known) == len(prompts), len(record.known)
    killer.join()


def plainly(server: Running, settings: GenerateSettings, prompts: list[str], folder: Path) -> None:
    def one(prompt: str) -> None:
        body = request_body(settings, prompt)
        headers = {"Content-Type": "application/json", "Idempotency-Key": request_digest(settings, body)}
        url = f"{server.url}/chat/completions"
        asked = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            json.load(answer)

    with ThreadPoolExecutor(settings.server.in_flight) as pool:
        list(pool.map(one, prompts))


def busy_share(server: Running) -> float:
    """Of the slots of a server that was up, the share that was busy, from its first answer to its last."""
    found = server.busy()
    busy = [number for number, (_, num) in enumerate(found) if num]
    between = [num for _, num in found[busy[0] : busy[-1] + 1]]
    return sum(between) / len(between) / SLOTS


if __name__ == "__main__":
    main()
