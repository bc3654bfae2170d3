"""Three Ray nodes on one machine: a node that is killed costs only its shards."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import UsageError
from gristmill.pipeline.run.runner import run_plan
from tests.support.cluster import add_node, cluster
from tests.support.toy_stage import INLINE, QUIET, plan

ROOT = Path(__file__).resolve().parents[2]

# The driver runs in a process of its own, as on a real cluster; it prints the digest of what the toy stage
# made.
DRIVER = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.runner import run_plan
from tests.support.toy_stage import QUIET, plan
from pathlib import Path
settings = EngineSettings(kind="ray", address=sys.argv[2], retry_seconds=0.1)
toy = plan(numbers=tuple(range(60)), seconds=0.6, starts=sys.argv[4])
manifest = run_plan(toy, Path(sys.argv[3]), settings, QUIET).manifests["toy/a"]
print(json.dumps({"digest": manifest.content_digest}))
"""


@pytest.fixture
def machines() -> Iterator[Any]:
    with cluster() as made:
        os.environ["PYTHONPATH"] = f"{Path(__file__).parent}{os.pathsep}{ROOT}"
        for _ in range(2):
            add_node(made, 2)
        yield made


def drive(address: str, out: Path, starts: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        DRIVER,
        str(Path(__file__).parent),
        address,
        str(out),
        str(starts),
    ]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE)


@pytest.mark.crash
def test_a_killed_node_costs_only_its_shards(machines: Any, tmp_path: Path) -> None:
    """Ten runs with a node killed at a random moment: the same bytes, and less than a tenth of the tasks
    begun again."""
    expected = run_plan(
        plan(numbers=tuple(range(60)), seconds=0.6), tmp_path / "undisturbed", INLINE, QUIET
    ).manifests["toy/a"]
    for number in range(10):
        victim = add_node(machines, 2)
        starts = tmp_path / f"starts-{number}"
        starts.mkdir()
        process = drive(machines.address, tmp_path / f"out-{number}", starts)
        while not any(starts.iterdir()):  # the moment is drawn from the time of work, six seconds or so
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(4.0 * random.Random(number).random())
        at_work = process.poll() is None
        machines.remove_node(victim, allow_graceful=False)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        assert json.loads(said.splitlines()[-1])["digest"] == expected.content_digest
        begun = len(list(starts.iterdir()))
        print(f"run {number}: {begun} attempts at 60 tasks")
        assert at_work
        assert begun < 66


def test_relative_paths_are_refused_inside_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="in a job it must be absolute"):
        run_plan(plan(), Path("out"), INLINE, QUIET)
