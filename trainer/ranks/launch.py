"""Start the ranks of a run on this machine, as torchrun would, and wait for them.

code = launch([sys.executable, "-m", "gristmill.trainer.train", "--config", "run.json"], ranks=8)
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

GRACE_SECONDS = 120.0  # for the other ranks to save, once one has ended badly


def rank_environment(rank: int, ranks: int, local_rank: int, address: str, port: int) -> dict[str, str]:
    """Return the variables torch.distributed reads."""
    values = {
        "RANK": rank,
        "WORLD_SIZE": ranks,
        "LOCAL_RANK": local_rank,
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }
    return {name: str(value) for name, value in values.items()}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def launch(
    command: Sequence[str], ranks: int, environment: Mapping[str, str] | None = None, output: Any = None
) -> int:
    """Run a command once per rank; pass SIGTERM and SIGINT on to all; return 0 or the first other exit code.

    When one rank ends badly the others are told to stop, and killed after a grace: a collective would hang
    for ever.
    """
    threads = max(
        1, (os.cpu_count() or 1) // ranks
    )  # ranks that share a machine must not each take all of it
    base = {"OMP_NUM_THREADS": str(threads), **os.environ, **(environment or {})}
    port = free_port()
    processes = [
        subprocess.Popen(
            command,
            env=base | rank_environment(rank, ranks, rank, "127.0.0.1", port),
            stdout=output,
            stderr=output,
        )
        for rank in range(ranks)
    ]

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    code, deadline = 0, float("inf")
    try:
        while None in (states := [process.poll() for process in processes]):
            ended = [state for state in states if state]
            if ended and not code:
                code, deadline = ended[0], time.monotonic() + GRACE_SECONDS
                pass_on(signal.SIGTERM, None)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)
    return code or next((process.returncode for process in processes if process.returncode), 0)
