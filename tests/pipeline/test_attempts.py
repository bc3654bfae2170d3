"""What the engine knows of nodes, attempts and records, without a cluster."""

from __future__ import annotations

import threading
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import EngineError, GristmillError, IntegrityError, StepFailed, UsageError
from gristmill.manifest import TaskRecord, put_record, record_path
from gristmill.pipeline.run import onward
from gristmill.pipeline.run.cluster.attempts import Attempted, Pending, TaskFailure
from gristmill.pipeline.run.cluster.confirm import wait_for
from gristmill.pipeline.run.cluster.deaths import death_of
from gristmill.pipeline.run.cluster.gate import refusal, source_digest
from gristmill.pipeline.run.cluster.nodes import NODE_LABEL, Nodes
from gristmill.pipeline.run.job import Phase, Task
from gristmill.pipeline.run.libraries import version_of
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import kinds
from tests.support.toy_stage import INLINE, QUIET, plan, square


class Cluster:
    """What Ray says of nodes."""

    def __init__(self, **nodes: tuple[float, ...]) -> None:
        names = ("CPU", "memory", "GPU")
        self.about = [
            {"NodeID": name, "Alive": True, "NodeManagerAddress": f"10.0.0.{number}",
             "Resources": {what: value for what, value in zip(names, has, strict=False) if value}}
            for number, (name, has) in enumerate(nodes.items())
        ]  # fmt: skip

    def nodes(self) -> list[dict[str, Any]]:
        return self.about


def test_a_record_that_no_listing_shows_counts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system's listing may be half a minute old: it serves resuming, and says nothing of what
    a task did."""
    expected = run_plan(plan(), tmp_path / "plain", INLINE, QUIET).manifests["toy/a"]
    monkeypatch.setattr(onward, "finished_keys", lambda *_: set())
    seen_late = run_plan(plan(), tmp_path / "late", INLINE, QUIET).manifests["toy/a"]
    assert seen_late.content_digest == expected.content_digest
    (tmp_path / "late" / "steps" / seen_late.folder.name / "manifest.json").unlink()
    again = run_plan(plan(), tmp_path / "late", INLINE, QUIET).manifests["toy/a"]
    assert again.content_digest == expected.content_digest


def test_a_record_that_appears_late_is_waited_for_and_one_that_does_not_fails_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = TaskRecord("map", "00000")
    put_record(tmp_path, record)
    path = record_path(tmp_path, "map", "00000")
    data = path.read_bytes()
    path.unlink()
    threading.Timer(0.2, lambda: path.write_bytes(data)).start()
    assert wait_for(path, record.digest, 90).task == "00000"
    with pytest.raises(IntegrityError, match=r"its task says 0000"):
        wait_for(path, "0" * 64, 90)
    with pytest.raises(
        GristmillError, match=r"its record .*00001\.json` cannot be seen from the driver after 0 s"
    ):
        wait_for(path.with_name("00001.json"), "0" * 64, 0)


def test_an_unseen_record_is_a_failed_task_and_not_a_lost_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.pipeline.run import attempt

    def elsewhere(folder: Path, record: TaskRecord) -> bool:
        return put_record(tmp_path / "another disk", record)

    monkeypatch.setattr(attempt, "put_record", elsewhere)
    settings = EngineSettings(kind="inline", retries=0, record_seconds=0)
    with pytest.raises(StepFailed, match=r"3 shards failed .*\n.*cannot be seen from the driver"):
        run_plan(plan(), tmp_path / "out", settings, QUIET)


def attempted(node: str, **facts: Any) -> Attempted:
    return Attempted("OSError: no", node=node, node_id=node, **facts)


def test_attempts_on_nodes_left_out_or_lost_do_not_count() -> None:
    pending = Pending(Task("00000", square))
    pending.attempts += [attempted("a"), attempted("b"), attempted("c", node_lost=True)]
    assert pending.counted({}) == 2
    assert pending.counted({"a"}) == 1
    pending.attempts += [attempted("c", node_lost=True)] * 6
    assert pending.counted({"a"}) == 3  # it may well be why these nodes are lost


def test_a_failure_names_its_nodes_inputs_and_log_with_the_error_last() -> None:
    task = Task("00003", square, {"paths": "/data/in/a.jsonl"})
    log = "about to die\nFatal Python error: Segmentation fault"
    attempts = (attempted("n1", pid=7, seconds=1.5), attempted("n2", pid=8, log=log))
    failure = TaskFailure(task, attempts)
    assert failure.error == "OSError: no (on n1, n2)"
    report = failure.report("map").splitlines()
    assert report[:3] == [
        "task 00003 of phase map, 2 attempts",
        "input /data/in/a.jsonl",
        "attempt 1 on node n1, pid 7, 1.5 s: OSError: no",
    ]
    assert "  about to die" in report and report[-1] == "OSError: no"


class WorkerCrashedError(Exception):
    pass


def test_a_dead_workers_signal_is_read_from_its_log() -> None:
    assert death_of(WorkerCrashedError(), "Segmentation fault", node_lost=False).said.endswith("SIGSEGV")
    assert "SIGKILL" in death_of(WorkerCrashedError(), "", node_lost=False).said
    lost = death_of(WorkerCrashedError(), "", node_lost=True)
    assert lost.is_of_node and lost.said == "its node was lost"


def test_a_node_is_left_out_when_tasks_fail_there_and_nowhere_else() -> None:
    said: list[str] = []
    nodes = Nodes(Cluster(a=(1, 1e9), b=(1, 1e9)), said.append)
    for number in range(3):
        nodes.note_failure("a", f"map {number}", "OSError: no")
    assert list(nodes.left_out) == ["a"] and nodes.selector([]) == {NODE_LABEL: "!in(a)"}
    assert said == [
        "  node 10.0.0.0 is left out: it failed 3 tasks that failed on no other node, the last: OSError: no"
    ]
    with pytest.raises(
        EngineError, match=r"no node of the cluster can work on this run:\n  10\.0\.0\.0 failed"
    ):
        nodes.leave_out("b", "cannot see the output")


def test_a_task_that_fails_everywhere_costs_no_node() -> None:
    nodes = Nodes(Cluster(a=(1, 1e9), b=(1, 1e9)))
    for number in range(9):
        nodes.note_failure("ab"[number % 2], f"map {number // 2}", "ValueError: poison")
    assert not nodes.left_out


def test_retries_go_to_nodes_where_the_task_has_not_failed_if_there_are_any() -> None:
    nodes = Nodes(Cluster(head=(0, 1e9), a=(1, 1e9), b=(1, 1e9)))
    assert nodes.selector(["a"]) == {NODE_LABEL: "!in(a)"}
    assert nodes.selector(["a", "b"]) == {}


def test_a_task_must_fit_into_one_node_that_works() -> None:
    nodes = Nodes(Cluster(head=(0, 64e9), a=(2, 1e9), b=(8, 4e8)))
    assert nodes.cpus_for(Phase("map", [], num_cpus=0)) == 8
    assert nodes.cpus_for(Phase("map", [], num_cpus=16)) == 8  # a stage's own number gives way
    with pytest.raises(
        UsageError, match=r"5,000,000,000 bytes, the largest node offers 1,000,000,000: 10\.0"
    ):
        nodes.cpus_for(Phase("map", [], memory_bytes=5_000_000_000))
    with pytest.raises(UsageError, match=r"16 CPUs, the largest node has 8"):
        nodes.cpus_for(Phase("map", [], num_cpus=16, is_asked=True))
    with pytest.raises(UsageError, match=r"4 CPUs and 900,000,000 bytes, those with as much memory have 2"):
        nodes.cpus_for(Phase("map", [], num_cpus=4, memory_bytes=900_000_000, is_asked=True))


def test_gpus_are_held_where_a_node_has_any() -> None:
    phase = Phase("train", [], num_gpus=1)
    assert Nodes(Cluster(a=(2, 1e9))).gpus_for(phase) == 0
    nodes = Nodes(Cluster(a=(2, 1e9), b=(8, 1e9, 4)))
    assert nodes.gpus_for(phase) == 1 and nodes.gpus_for(Phase("map", [])) == 0
    assert nodes.gpus_for(Phase("train", [], num_gpus=0.25)) == 0.25
    with pytest.raises(UsageError, match=r"to hold 8 GPUs, the largest node has 4"):
        nodes.gpus_for(Phase("train", [], num_gpus=8))


def test_the_gate_knows_another_release_and_other_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import gristmill

    monkeypatch.setitem(sys.__dict__, "_seen_by_gate", {})
    same = {"package": "gristmill", "version": gristmill.__version__, "source": source_digest("gristmill")}
    assert refusal({**same, "libraries": {"no-such-thing": "absent"}}) == ""
    every = {name: version_of(name) for kind in kinds().values() for name in kind.libraries}
    assert every["unicodedata"] == unicodedata.unidata_version
    assert refusal({**same, "libraries": every}) == ""  # whoever names a library, asks nodes for it as well
    assert refusal({**same, "libraries": {"pyarrow": "0.1"}}).startswith("has pyarrow ")
    assert refusal({**same, "source": "0", "libraries": {}}).startswith("runs other source files under")
