"""Where a sample is milled: in a temporary folder of this machine, or on a cluster where its nodes see it."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from gristmill.files.stores import store_of
from gristmill.pipeline.run.engine import start_ray
from gristmill.pipeline.run.settings import EngineSettings

STEM = ".estimate-"  # of a sample's folder in the output folder


@dataclass(frozen=True, slots=True)
class Place:
    """`folder` is where to; `memory_bytes` is what one machine has for the `cpus_each` of it."""

    folder: Path
    num_cpus: int
    cpus_each: int
    memory_bytes: float


@contextmanager
def sample_place(out: Path, engine: EngineSettings, say: Callable[[str], None]) -> Iterator[Place]:
    """Lend a folder that all who mill can see, and say on how much; it is removed afterwards.

    Raises EngineError where the cluster does not answer.
    """
    address = engine.address or os.environ.get("RAY_ADDRESS")
    if engine.kind == "inline" or not address:
        num_cpus = 1 if engine.kind == "inline" else engine.workers or os.cpu_count() or 1
        with tempfile.TemporaryDirectory(prefix="gristmill-estimate-") as name:
            yield Place(Path(name), num_cpus, num_cpus, psutil.virtual_memory().total)
        return
    cluster = start_ray(engine, say=say)
    folder = out.absolute() / f"{STEM}{secrets.token_hex(6)}"
    try:
        nodes = cluster.nodes.working()
        smallest = min(nodes, key=lambda node: node.memory / node.cpus, default=None)
        each, memory = (int(smallest.cpus), smallest.memory) if smallest else (1, float("inf"))
        yield Place(folder, max(1, int(cluster.nodes.num_cpus())), max(1, each), memory)
    finally:
        cluster.close()
        if folder.exists():
            store_of(folder).remove(folder)
