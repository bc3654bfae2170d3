"""Ray clusters of several raylets on loopback, and a driver of its own on them, as on real machines.

A node may see less than others: its Python starts with a `sitecustomize` that hides a folder, or finds
another release of the package. That stands for a machine without the mount, or with an older install.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from gristmill.pipeline.run.cluster.starting import TRIES

ROOT = Path(__file__).resolve().parents[2]

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
    head = {"num_cpus": num_cpus, "object_store_memory": 80 << 20}
    try:
        made = _persistently(lambda: Cluster(initialize_head=True, head_node_args=head))
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
        return _persistently(lambda: made.add_node(num_cpus=num_cpus, object_store_memory=80 << 20))
    finally:
        os.environ.clear()
        os.environ.update(before)


def _persistently(start: Callable[[], Any]) -> Any:
    """Start a node, several times where it does not register: Ray waits 30 s for one, in its code, and beside
    busy processes that is too short. What a failed try has left is ended."""
    for number in range(TRIES):
        before = set(psutil.Process().children(recursive=True))
        try:
            return start()
        except Exception as error:
            for process in set(psutil.Process().children(recursive=True)) - before:
                with suppress(psutil.Error):
                    process.kill()
            if number + 1 == TRIES:
                raise
            print(f"node not started, try {number + 1} of {TRIES}: {error}", file=sys.stderr)
    raise AssertionError("unreachable")


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
