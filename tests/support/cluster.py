"""Ray clusters of several raylets on loopback, and a driver of its own on them, as on real machines.

A node may see less than others: its Python starts with a `sitecustomize` that hides a folder, or finds
another release of the package. That stands for a machine without the mount, or with an older install.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from gristmill.pipeline.run.cluster.starting import TRIES

ROOT = Path(__file__).resolve().parents[2]
REGISTER_SECONDS = 120.0

# It prints the digest of what the toy stage made, or the error.
DRIVER = """
import json, sys
from gristmill.errors import GristmillError
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.stage import declared
from tests.support.toy_stage import TOY, plan
from pathlib import Path
facts = json.loads(sys.argv[1])
settings = EngineSettings.model_validate({"kind": "ray", "retry_seconds": 0.1, **facts["engine"]})
allowed = facts["toy"].pop("allowed", 0)
try:
    with declared(kinds=(TOY,)):
        result = run_plan(plan(allowed, **facts["toy"]), Path(facts["out"]), settings, Progress())
    print(json.dumps({"digest": result.manifests["toy/a"].content_digest}))
except GristmillError as error:
    print(json.dumps({"error": str(error)}))
"""

HIDE = """
import builtins, os, io
hidden = os.environ["HIDDEN_FOLDER"]
def hide(module, name):
    real = getattr(module, name)
    def seen(path, *arguments, **keywords):
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(hidden):
            path = {instead!r} + os.fspath(path)[len(hidden):]
        return real(path, *arguments, **keywords)
    setattr(module, name, seen)
for name in ("stat", "lstat", "open", "mkdir", "listdir", "scandir", "unlink", "rmdir"):
    hide(os, name)
hide(builtins, "open")
io.open = builtins.open
"""

# What an NFS client may show: files of `records/` are not found for a second and a half, and not listed for
# six. Each that was hidden leaves a mark.
LATE = """
import builtins, io, os, time
real_stat, real_open, real_os_open = os.stat, builtins.open, os.open
real_list, real_scan = os.listdir, os.scandir
def is_young(path, seconds):
    path = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
    if "/records/" not in path or not path.endswith(".json"):
        return False
    try:
        young = time.time() - real_stat(path).st_mtime < seconds
    except OSError:
        return False
    if young:
        real_open(os.environ["HIDDEN_MARKS"], "a").write("one ")
    return young
def found(real):
    def asked(path, *arguments, **keywords):
        if is_young(path, 1.5):
            raise FileNotFoundError(2, "not seen yet", path)
        return real(path, *arguments, **keywords)
    return asked
os.stat, os.open = found(real_stat), found(real_os_open)
builtins.open = io.open = found(real_open)
os.listdir = lambda path=".": [name for name in real_list(path) if not is_young(os.path.join(path, name), 6)]
class Scan:
    def __init__(self, path="."):
        self.real = real_scan(path)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.close()
    def __iter__(self):
        return (entry for entry in self.real if not is_young(entry.path, 6))
    def __next__(self):
        return next(iter(self))
    def close(self):
        self.real.close()
os.scandir = Scan
"""

OTHER_NUMPY = """
import importlib.metadata
real = importlib.metadata.version
importlib.metadata.version = lambda name: "0.0.1" if name == "numpy" else real(name)
"""


@contextmanager
def cluster(num_cpus: int = 0) -> Iterator[Any]:
    """A head node; `add_node` adds others."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ["PYTHONPATH"] = str(ROOT)
    # Ray spells it so; other things may run beside the tests.
    os.environ["RAY_raylet_start_wait_time_s"] = "300"  # noqa: SIM112
    head = {"num_cpus": num_cpus, "object_store_memory": 80 << 20, "include_dashboard": False}
    try:
        made = _persistently(
            lambda: Cluster(initialize_head=True, head_node_args={**head, **_ports_of_agents()})
        )
        try:
            yield made
        finally:
            made.shutdown()
    finally:
        os.environ.clear()
        os.environ.update(before)


def add_node(made: Any, num_cpus: int = 1, **environment: str) -> Any:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        size = {"num_cpus": num_cpus, "object_store_memory": 80 << 20}
        return _persistently(lambda: made.add_node(**size, **_ports_of_agents()))
    finally:
        os.environ.clear()
        os.environ.update(before)


def _ports_of_agents() -> dict[str, int]:
    """Ports for a node's agents: a raylet that has to wait for these to choose their own waits 30 s, and ends
    itself where they take longer to start."""
    names = (
        "metrics_agent_port",
        "metrics_export_port",
        "runtime_env_agent_port",
        "dashboard_agent_listen_port",
    )
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: server.getsockname()[1] for name, server in zip(names, servers, strict=True)}


def _persistently(start: Callable[[], Any]) -> Any:
    """Start a node, several times where it does not register: its agents have some seconds to come up, and
    beside busy processes that is too short. What a failed try has left is ended."""
    for number in range(TRIES):
        before = set(psutil.Process().children(recursive=True))
        try:
            with _patience():
                return start()
        except Exception as error:
            for process in set(psutil.Process().children(recursive=True)) - before:
                with suppress(psutil.Error):
                    process.kill()
            if number + 1 == TRIES:
                raise
            print(f"node not started, try {number + 1} of {TRIES}: {error}", file=sys.stderr)
    raise AssertionError("unreachable")


@contextmanager
def _patience() -> Iterator[None]:
    """Wait longer for a node to register than the 30 s that stand in Ray's code."""
    from ray._private import services

    real = services.get_node

    def patient(*arguments: Any) -> Any:
        deadline = time.monotonic() + REGISTER_SECONDS
        while True:
            try:
                return real(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    services.get_node = patient
    try:
        yield
    finally:
        services.get_node = real


def blind_to(folder: Path, scratch: Path) -> dict[str, str]:
    """The environment of a node whose `folder` is another one than everybody's: a disk of its own."""
    (scratch / "own disk").mkdir(parents=True, exist_ok=True)
    code = HIDE.format(instead=str(scratch / "own disk"))
    return {"HIDDEN_FOLDER": str(folder), **starting_with(code, scratch / "blind")}


def starting_with(code: str, folder: Path) -> dict[str, str]:
    """The environment of processes whose Python starts with `code`, kept in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def drive(
    address: str,
    out: Path,
    toy: Mapping[str, Any],
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    **engine: Any,
) -> subprocess.Popen[str]:
    facts = {"out": str(out), "toy": dict(toy), "engine": {"address": address, **engine}}
    command = [sys.executable, "-W", "ignore", "-c", DRIVER, json.dumps(facts)]
    seen = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    return subprocess.Popen(
        command, cwd=cwd, env=seen, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str], seconds: float = 240) -> tuple[dict[str, Any], str]:
    """What a driver printed last, and what it said meanwhile."""
    said, told = process.communicate(timeout=seconds)
    assert said.strip(), told
    return json.loads(said.splitlines()[-1]), told
