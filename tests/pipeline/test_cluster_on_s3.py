"""A recipe of every stage on two nodes with its output in an object store, one of them killed on the way: the
objects of a run in one process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gristmill.files.location import RemotePath, use_storage
from gristmill.files.remote import Access
from gristmill.files.remote_store import StorageSettings
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.folder import finished_steps
from tests.support import object_store
from tests.support.cluster import ROOT, add_node, cluster
from tests.support.small_recipe import write_recipe

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # of the server and its client

# Both nodes' requests go through one server in Python: beside thirty busy processes a run took over 900 s.
TIMEOUT_SECONDS = 3600


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    yield from object_store.serve("mill")


def run(folder: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "gristmill.pipeline.cli", "run", "recipe.yaml", *more]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def objects_of(folder: Any) -> dict[str, str]:
    """The digest of every file that a run's manifests name, by step and path."""
    return {
        f"{name}/{entry.path}": entry.sha256
        for name, manifest in finished_steps(folder).items()
        for entry in manifest.files
    }


def data_below(server: str, prefix: str) -> set[str]:
    client = object_store.client(server)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="mill", Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {key.removeprefix(prefix) for key in keys if "/data/" in key}


@pytest.fixture(scope="module")
def milled(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe, and what one process made of it in `local`."""
    folder = tmp_path_factory.mktemp("milled")
    write_recipe(folder, output={"storage_options": object_store.options(server)}, shard_bytes=60_000)
    local = run(folder, "--out", "local", "--engine", "inline", "--quiet")
    said, _ = local.communicate(timeout=TIMEOUT_SECONDS)
    assert local.returncode == 0, said
    return folder


@pytest.mark.parametrize("after", [4, 30])
def test_a_node_killed_in_a_run_on_an_object_store_costs_no_object(
    server: str, milled: Path, tmp_path: Path, after: int
) -> None:
    options = object_store.options(server)
    with cluster(num_cpus=0) as made, ExitStack() as ended:
        add_node(made, 2, GRISTMILL_CACHE=str(tmp_path / "one"))
        victim = add_node(made, 2, GRISTMILL_CACHE=str(tmp_path / "other"))
        out = f"s3://mill/killed-{after}"
        driver = run(
            milled, "--out", out, "--address", made.address, GRISTMILL_CACHE=str(tmp_path / "driver")
        )
        ended.callback(driver.kill)  # where it is waited for in vain; nothing where it has ended
        client, records = object_store.client(server), 0
        while records < after:
            assert driver.poll() is None, driver.communicate()[0]
            time.sleep(0.2)
            listed = client.list_objects_v2(Bucket="mill", Prefix=f"killed-{after}/").get("Contents", ())
            records = sum("/records/" in item["Key"] for item in listed)
        made.remove_node(victim, allow_graceful=False)
        said, _ = driver.communicate(timeout=TIMEOUT_SECONDS)
        assert driver.returncode == 0, said

    use_storage(out, StorageSettings(Access(options), str(tmp_path / "reader")))
    assert objects_of(RemotePath(out)) == objects_of(milled / "local")
    assert list(verify(RemotePath(out))) == []
    named = {
        f"/{manifest.folder.relative_to(milled / 'local')}/{entry.path}"
        for manifest in finished_steps(milled / "local").values()
        for entry in manifest.files
        if entry.path.startswith("data/")
    }
    assert data_below(server, f"killed-{after}") >= named
