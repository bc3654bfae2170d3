"""Several gloo ranks on this machine that train one configuration after another, also killed ones."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

# All ranks train one configuration after another: starting a process costs more than all steps of small
# models. `die_after` ends a run right after that step, before anything that step would save.
WORKER = """
import json, os, sys
from gristmill.trainer.train import Training, run
class Died(BaseException): pass
plain = Training._train_step
{prelude}
for number, settings in enumerate(json.load(open(sys.argv[1]))):
    os.environ["MASTER_PORT"] = sys.argv[2].split(",")[number]
    deadly = settings.pop("die_after", None)
    def step(self, batch):
        plain(self, batch)
        if self.step == deadly: raise Died
    Training._train_step = step
    try: run(settings)
    except Died: pass
"""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, below those a system hands out: they are taken one after the
    other, and meanwhile any of the others' might be given away."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        found += [port] if port not in found else []
    return found


def start_ranks(
    runs: list[dict[str, Any]], folder: Path, ranks: int = 2, prelude: str = ""
) -> list[subprocess.Popen[str]]:
    """Start the ranks and return their processes."""
    file = folder / "runs.json"
    file.write_text(json.dumps(runs))
    ports = ",".join(map(str, free_ports(len(runs))))
    command = [sys.executable, "-c", WORKER.replace("{prelude}", prelude), str(file), ports]
    return [
        subprocess.Popen(
            command,
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
            | {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def train_on_ranks(
    runs: list[dict[str, Any]], folder: Path, ranks: int = 2, prelude: str = "", timeout: float = 1200
) -> str:
    """Train on several ranks to the end; return what rank 0 told."""
    processes = start_ranks(runs, folder, ranks, prelude)
    told = []
    try:
        for process in processes:
            _, errors = process.communicate(timeout=timeout)
            assert process.returncode == 0, errors[-4000:]
            told.append(errors)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return told[0]
