"""Nodes that do not see what the driver sees, run something else, or are broken: left out and named, and
nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gristmill.pipeline.run.runner import run_plan
from tests.support.cluster import (
    LATE,
    OTHER_NUMPY,
    ROOT,
    add_node,
    blind_to,
    cluster,
    drive,
    ended,
    starting_with,
)
from tests.support.toy_stage import INLINE, QUIET, plan

pytestmark = pytest.mark.slow
TOY: dict[str, Any] = {"numbers": list(range(40)), "seconds": 0.1}


@pytest.fixture
def machines() -> Iterator[Any]:
    with cluster(num_cpus=1) as made:
        yield made


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    result = run_plan(plan(**TOY), tmp_path_factory.mktemp("inline") / "out", INLINE, QUIET)
    return result.manifests["toy/a"].content_digest


def test_a_node_that_joins_late_without_the_outputs_mount_is_left_out_and_loses_nothing(
    machines: Any, tmp_path: Path, digest: str
) -> None:
    out = tmp_path / "out"
    process = drive(machines.address, out, TOY)
    add_node(machines, 2, **blind_to(out, tmp_path / "blind"))
    said, told = ended(process)
    assert said == {"digest": digest}, told
    assert "is left out: it cannot see the output" in told
    assert not list((tmp_path / "blind" / "own disk").rglob("*.json"))


def test_a_node_with_another_release_is_left_out(machines: Any, tmp_path: Path, digest: str) -> None:
    other = tmp_path / "other release"
    shutil.copytree(ROOT / "gristmill", other / "gristmill", ignore=shutil.ignore_patterns("__pycache__"))
    door = other / "gristmill" / "__init__.py"
    door.write_text(door.read_text().replace("__version__ = ", "__version__ = '0.0.1old' or "))
    add_node(machines, 2, PYTHONPATH=f"{other}{os.pathsep}{ROOT}")
    said, told = ended(drive(machines.address, tmp_path / "out", TOY, cwd=tmp_path))
    assert said == {"digest": digest}, told
    assert "is left out: it runs release 0.0.1old" in told


def test_a_node_that_joins_late_with_another_library_is_left_out(
    machines: Any, tmp_path: Path, digest: str
) -> None:
    process = drive(machines.address, tmp_path / "out", TOY)
    add_node(machines, 2, **starting_with(OTHER_NUMPY, tmp_path / "code"))
    said, told = ended(process)
    assert said == {"digest": digest}, told
    assert "is left out: it has numpy 0.0.1; the driver has" in told


def test_a_head_that_dies_ends_the_run_with_the_command_that_resumes(machines: Any, tmp_path: Path) -> None:
    add_node(machines, 1)
    out = tmp_path / "out"
    process = drive(machines.address, out, {**TOY, "seconds": 1.0})
    deadline = time.monotonic() + 200
    while len(list(out.glob("steps/*/records/**/*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    machines.remove_node(machines.head_node, allow_graceful=False)
    out_said, told = process.communicate(timeout=200)
    text = out_said + told
    assert "the head of the cluster" in text and "the same command resumes" in text, text


def test_a_driver_whose_own_raylet_dies_says_so_and_a_resume_makes_the_same_bytes(
    machines: Any, tmp_path: Path
) -> None:
    """The head's server and another node live on; Ray would end the driver without a word."""
    toy = {"numbers": list(range(80)), "seconds": 0.5}
    quick = run_plan(plan(**{**toy, "seconds": 0.0}), tmp_path / "inline", INLINE, QUIET).manifests["toy/a"]
    add_node(machines, 2)
    out = tmp_path / "out"
    process = drive(machines.address, out, toy)
    deadline = time.monotonic() + 200
    while len(list(out.glob("steps/*/records/**/*.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    machines.head_node.kill_raylet()
    out_said, told = process.communicate(timeout=200)
    text = out_said + told
    assert "Ray's process on this machine, the raylet at" in text and "has ended" in text, text
    assert "the same command resumes" in text, text
    done = len(list(out.glob("steps/*/records/**/*.json")))
    resumed = run_plan(plan(**toy), out, INLINE, QUIET).manifests["toy/a"]
    assert 2 <= done < len(resumed.read_records())
    assert resumed.content_digest == quick.content_digest


def test_a_driver_that_sees_records_late_counts_what_three_nodes_did(
    machines: Any, tmp_path: Path, digest: str
) -> None:
    """Names that are not found at first, and listings that are older still: nothing is lost, nothing done
    twice."""
    for _ in range(2):
        add_node(machines, 2)
    environment = {"HIDDEN_MARKS": str(tmp_path / "marks"), **starting_with(LATE, tmp_path / "late")}
    process = drive(machines.address, tmp_path / "out", TOY, environment=environment, speculate=False)
    said, told = ended(process, 600)
    assert said == {"digest": digest}, told
    assert (tmp_path / "marks").read_text().count("one") > len(TOY["numbers"])
    assert "left out" not in told


def test_a_node_without_an_input_is_left_out_and_named(machines: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "words.txt").write_text("the words")
    toy = {**TOY, "input": str(tmp_path / "in" / "words.txt")}
    expected = run_plan(plan(**toy), tmp_path / "inline", INLINE, QUIET).manifests["toy/a"]
    add_node(machines, 2, **blind_to(tmp_path / "in", tmp_path / "blind"))
    said, told = ended(drive(machines.address, tmp_path / "out", toy))
    assert said == {"digest": expected.content_digest}, told
    assert "is left out: it does not see" in told and "words.txt" in told


def test_a_node_on_which_every_task_fails_loses_none_of_them(machines: Any, tmp_path: Path) -> None:
    toy = {**TOY, "bad_node": True}
    expected = run_plan(plan(**toy), tmp_path / "inline", INLINE, QUIET).manifests["toy/a"]
    add_node(machines, 2, TOY_NODE="bad")
    said, told = ended(drive(machines.address, tmp_path / "out", toy))
    assert said == {"digest": expected.content_digest}, told
    assert "is left out: it failed 3 tasks that failed on no other node" in told


def test_a_relative_output_of_a_driver_in_another_folder_is_the_drivers(
    machines: Any, tmp_path: Path, digest: str
) -> None:
    said, told = ended(drive(machines.address, Path("out"), TOY, cwd=tmp_path))
    assert said == {"digest": digest}, told
    assert list(tmp_path.glob("out/steps/*/manifest.json"))


def test_the_last_task_is_begun_a_second_time_where_a_node_idles(machines: Any, tmp_path: Path) -> None:
    toy = {**TOY, "slow": 34}
    expected = run_plan(plan(**toy), tmp_path / "inline", INLINE, QUIET).manifests["toy/a"]
    add_node(machines, 1, TOY_NODE="slow")
    said, told = ended(drive(machines.address, tmp_path / "out", toy))
    assert said == {"digest": expected.content_digest}, told
    assert "another node begins it, too" in told


def test_an_estimate_with_an_address_is_milled_on_that_cluster_and_for_its_cpus(
    machines: Any, tmp_path: Path
) -> None:
    add_node(machines, 2)
    for number in range(3):
        rows = [json.dumps({"id": f"{number}-{n}", "text": f"{n} " * 400}) for n in range(40)]
        (tmp_path / f"a-{number}.jsonl").write_text("\n".join(rows))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nsources: {a: {inputs: a-*.jsonl}}\nshard_bytes: 8000\ndedup: {exact: {}}\n")
    command = ["plan", str(recipe), "--out", str(tmp_path / "out"), "--estimate", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "gristmill.pipeline.cli", *command, "--address", machines.address],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["num_cpus"] == 3
    assert [step["step"] for step in found["steps"]] == ["extract/a", "dedup-exact"]
    assert list((tmp_path / "out").iterdir()) == []
