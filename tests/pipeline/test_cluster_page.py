"""The commands of docs/cluster.md, typed as they stand on a head and two nodes that are processes of this
machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.folder import finished_steps
from tests.support.small_recipe import recipe, write_inputs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text("utf-8")
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lines_of(*starts: str) -> list[str]:
    """The page's command lines that begin so, without comments: in blocks, and between backticks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(r"`([^`\n]+)`", prose)
    return [line for line in found if line.startswith(starts)]


class Site:
    """Where the page's names lie here: HEAD, its ports, /shared and the recipe."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.dashboard = folder, free_port(), free_port()
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAY_raylet_start_wait_time_s": "300",
        }

    def here(self, line: str) -> list[str]:
        """A line of the page as it is typed here."""
        for said, meant in (
            ("HEAD:6379", f"127.0.0.1:{self.port}"),
            ("HEAD:8265", f"127.0.0.1:{self.dashboard}"),
            ("/shared/out", str(self.folder / "out")),
            ("--port=6379", f"--port={self.port}"),
        ):
            line = line.replace(said, meant)
        words = shlex.split(line)
        if words[0] == "gristmill":
            words[:1] = [sys.executable, "-W", "ignore", "-m", "gristmill.pipeline.cli"]
        return words

    def run(self, line: str, *more: str) -> str:
        done = subprocess.run(
            [*self.here(line), *more], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def beside(self, line: str, *more: str) -> Iterator[subprocess.Popen[str]]:
        """A command that stays: ended, with all that it started, when the block is left."""
        process = subprocess.Popen(
            [*self.here(line), *more], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    write_inputs(tmp_path)
    whole = recipe()
    kept = ("name", "seed", "shard_bytes", "sources", "extract", "filter", "dedup")
    for source in whole["sources"].values():  # by absolute paths, as `submit` names them: origins hold them
        source["inputs"] = [str(tmp_path / name) for name in source["inputs"]]
    (tmp_path / "recipe.yaml").write_text(json.dumps({name: whole[name] for name in kept}))
    return Site(tmp_path)


@pytest.mark.slow
def test_the_pages_commands_start_a_cluster_run_a_recipe_on_it_and_watch_it(site: Site) -> None:
    export, head, node, run = lines_of("export ", "ray start --", "gristmill run recipe.yaml --out /shared")
    name, _, value = export.removeprefix("export ").partition("=")
    site.environment[name] = value
    small = ("--block", "--object-store-memory", str(80 << 20))
    temp = tempfile.mkdtemp(prefix="gm-", dir="/tmp")  # a socket's path has little room
    ports = ["--dashboard-port", str(site.dashboard), "--dashboard-agent-listen-port", str(free_port())]
    estimate = next(line for line in lines_of("gristmill plan") if "--address" in line)
    watch, serve = lines_of("gristmill status")
    (submit,) = lines_of("gristmill submit")
    out = site.folder / "out" / "web"
    with site.beside(head, *small, *ports, "--temp-dir", temp) as started:
        _wait_for(site.port, started)
        others = ("--num-cpus", "1", "--dashboard-agent-listen-port")
        with ExitStack() as nodes:
            for number in (1, 2):  # one after the other: they look for free ports
                joins = nodes.enter_context(site.beside(node, *small, *others, str(free_port())))
                _wait_for_cpus(site, number, joins)
            assert json.loads(site.run(estimate, "--json"))["num_cpus"] == 2
            site.run(run)
            assert list(verify(out)) == []
            site.run(submit.replace("/web", "/job"), "--wait")
            shown = site.run(watch)
            assert shown.rstrip().endswith("complete")
            with site.beside(serve.replace("9101", str(port := free_port()))) as metrics:
                _wait_for(port, metrics)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                    told = answer.read().decode()
            assert "gristmill_run_complete" in told
            known = (ROOT / "pipeline/look/metrics.py").read_text("utf-8")  # some are of steps at work alone
            for wanted in re.findall(r"`gristmill_step_(\w+)`", PAGE):
                assert f"step_{wanted}" in known
    shutil.rmtree(temp, ignore_errors=True)
    site.run(lines_of("gristmill run recipe.yaml --out /data")[0].replace("/data/out", str(site.folder)))
    made = [finished_steps(place) for place in (out, site.folder / "out/job", site.folder / "web")]
    digests = [{name: step.content_digest for name, step in steps.items()} for steps in made]
    assert digests[0] == digests[1] == digests[2]


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until something listens."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()[0]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.3)
    pytest.fail(f"nothing listens on port {port}")


def _wait_for_cpus(site: Site, num_cpus: int, joins: subprocess.Popen[str]) -> None:
    """Wait until a node has joined, as a driver of its own sees it."""
    code = (
        "import ray, time\n"
        f"ray.init(address='127.0.0.1:{site.port}', logging_level='ERROR')\n"
        f"while ray.cluster_resources().get('CPU', 0) < {num_cpus}: time.sleep(0.3)\n"
    )
    driver = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=site.environment)
    until = time.monotonic() + 300
    while driver.poll() is None:
        assert joins.poll() is None, joins.communicate()[0]
        assert time.monotonic() < until, "the node did not join"
        time.sleep(0.3)
    assert driver.returncode == 0
