"""Several gloo ranks on this machine that train one configuration after another, also killed ones."""

from __future__ import annotations

import json
import os
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
    os.environ["MASTER_PORT"] = str(int(sys.argv[2]) + number)
    deadly = settings.pop("die_after", None)
    def step(self, batch):
        plain(self, batch)
        if self.step == deadly: raise Died
    Training._train_step = step
    try: run(settings)
    except Died: pass
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start_ranks(
    runs: list[dict[str, Any]], folder: Path, ranks: int = 2, prelude: str = ""
) -> list[subprocess.Popen[str]]:
    """Start the ranks and return their processes."""
    file = folder / "runs.json"
    file.write_text(json.dumps(runs))
    command = [sys.executable, "-c", WORKER.replace("{prelude}", prelude), str(file), str(free_port())]
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
