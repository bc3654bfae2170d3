"""Tasks of Slurm's srun are ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristmill.trainer.ranks.slurm import first_host, ranks_of_srun
from tests.support.ranks import ROOT, free_ports

TASK = {"SLURM_PROCID": "5", "SLURM_NTASKS": "16", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "4711"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_NODELIST": "gpu[003-004,9]"}


def test_a_task_of_srun_knows_its_rank_and_where_all_meet() -> None:
    found = ranks_of_srun(TASK | STEP)
    assert {key: found[key] for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")} == {
        "RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu003",
    }  # fmt: skip
    assert 15_000 <= int(found["MASTER_PORT"]) < 31_000
    assert ranks_of_srun(TASK)["WORLD_SIZE"] == "16"
    assert ranks_of_srun(TASK | STEP | {"MASTER_ADDR": "10.0.0.1"})["MASTER_ADDR"] == "10.0.0.1"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        TASK | STEP | {"RANK": "0", "WORLD_SIZE": "8"},  # torchrun inside a job
        TASK | STEP | {"SLURM_STEP_NUM_TASKS": "1"},
        TASK | {"SLURM_PROCID": "0", "ENVIRONMENT": "BATCH"},  # the batch script itself
        {"SLURM_NTASKS": "16"},  # a shell of salloc
    ],
)
def test_what_is_no_task_of_srun_stays_alone(environment: dict[str, str]) -> None:
    assert ranks_of_srun(environment) == {}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"), ("a1,a2", "a1"), ("gpu[003-007,9],login1", "gpu003"), ("n[1,3]", "n1"),
        ("login1,gpu[1-2]", "login1"), ("rack[1-2]node[01-08]", "rack1node01"),
        ("n[2-3].cluster", "n2.cluster"),
    ],
)  # fmt: skip
def test_the_first_host_of_a_list_is_found(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.slow
def test_srun_trains_one_run_on_two_ranks(corpus: Callable[..., Path], tmp_path: Path) -> None:
    model = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 32}
    how: dict[str, Any] = {
        "shards": str(corpus()), "run": str(tmp_path / "run"), "model": model, "device": "cpu",
        "batch": 4, "steps": 3, "threads": 1, "log_every": 1,
    }  # fmt: skip
    (tmp_path / "how.json").write_text(json.dumps(how))
    command = [sys.executable, "-m", "gristmill.trainer.train", "--config", str(tmp_path / "how.json")]
    port = str(*free_ports(1))
    tasks = [
        subprocess.Popen(
            command,
            env=os.environ
            | {"SLURM_PROCID": str(task), "SLURM_NTASKS": "2", "SLURM_LOCALID": str(task)}
            | {"SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1", "MASTER_PORT": port},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in range(2)
    ]
    out = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], out
    assert json.loads(out[0][0])["steps"] == 3 and out[1][0] == ""
    assert "on 2 x cpu" in out[0][1]
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 3
