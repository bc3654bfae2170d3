"""A recipe handed to a cluster of two nodes by its job server makes the bytes that it makes in one
process."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gristmill.errors import UsageError
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.cluster.submit import submit_job
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.verbs.invoke import load_recipe
from tests.support.small_recipe import recipe, write_inputs
from tests.support.toy_stage import INLINE, QUIET

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def job_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head and a second node, each with one CPU, and the URL of their job server; authentication is the
    same on all sides."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # on a machine that does other things as well
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{ROOT}")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    temp = tempfile.mkdtemp(prefix="gm-", dir="/tmp")  # a socket's path has little room
    port, node = free_port(), {"num_cpus": 1, "object_store_memory": 80 << 20}
    head = {
        "include_dashboard": True,
        "dashboard_port": port,
        "temp_dir": temp,
        "dashboard_agent_listen_port": free_port(),
    }
    cluster = Cluster(initialize_head=True, head_node_args={**node, **head})
    cluster.add_node(**node, dashboard_agent_listen_port=free_port())
    cluster.wait_for_nodes()
    yield f"http://127.0.0.1:{port}"
    cluster.shutdown()
    shutil.rmtree(temp, ignore_errors=True)


@pytest.mark.crash
def test_a_job_on_two_nodes_makes_the_bytes_of_one_process(job_server: str, tmp_path: Path) -> None:
    import yaml

    write_inputs(tmp_path)
    whole = recipe(sources={"web": {"inputs": [str(tmp_path / "web-*.warc.gz")]}})
    kept = {
        name: whole[name] for name in ("name", "seed", "shard_bytes", "sources", "extract", "filter", "dedup")
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(kept))
    assert submit_job(path, job_server, str(tmp_path / "job"), [], wait=True) == 0
    run_plan(build_plan(load_recipe(path)), tmp_path / "inline", INLINE, QUIET)
    inline, job = finished_steps(tmp_path / "inline"), finished_steps(tmp_path / "job")
    assert {name: step.content_digest for name, step in job.items()} == {
        name: step.content_digest for name, step in inline.items()
    }
    assert list(verify(tmp_path / "job")) == []
    assert submit_job(path, job_server, str(tmp_path / "job"), [], wait=True) == 0  # finds all done


def test_secrets_do_not_go_on_a_jobs_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shown to all"):
        submit_job(
            tmp_path / "recipe.yaml", "http://x", "/out", ["output.storage_options.secret=hunter2"], wait=True
        )
