"""Ranks started by Slurm's `srun`: its variables under the names that torch.distributed reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

PORTS = (15_000, 16_000)  # the first, and how many: below the ports that systems hand out


def ranks_of_srun(environment: Mapping[str, str]) -> dict[str, str]:
    """Return RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT of a task of `srun`; empty elsewhere.

    A batch script's own shell has SLURM_PROCID and SLURM_NTASKS too, but no step: nothing else was started
    there. Variables that are already set win, so torchrun inside a job stays torchrun.
    """
    rank, tasks = environment.get("SLURM_PROCID"), _num_tasks(environment)
    if "RANK" in environment or "WORLD_SIZE" in environment or rank is None or tasks < 2:
        return {}
    lists = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    nodes = next((environment[name] for name in lists if environment.get(name)), "127.0.0.1")
    if environment.get("SLURM_STEP_NUM_NODES", environment.get("SLURM_NNODES")) == "1":
        nodes = "127.0.0.1"
    first, count = PORTS
    number = int(environment.get("SLURM_JOB_ID", "0")) * 7 + _int(environment.get("SLURM_STEP_ID", "0"))
    found = {
        "RANK": rank,
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": first_host(nodes),
        "MASTER_PORT": str(first + number % count),
    }
    return {name: environment.get(name, value) for name, value in found.items()}


def first_host(nodes: str) -> str:
    """Return the first name of a host list such as `gpu[003-007,9],login1`."""
    prefix, bracket, rest = nodes.partition("[")
    if not bracket or "," in prefix:
        return nodes.partition(",")[0]
    inside, _, after = rest.partition("]")
    suffix = after.partition(",")[0]
    if "[" in suffix:  # a list of lists: rack[1-2]node[1-8]
        suffix = first_host(suffix)
    return f"{prefix}{re.split('[-,]', inside)[0]}{suffix}"


def _num_tasks(environment: Mapping[str, str]) -> int:
    if "SLURM_STEP_NUM_TASKS" in environment:
        return _int(environment["SLURM_STEP_NUM_TASKS"])
    in_batch_script = environment.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in environment
    return 1 if in_batch_script else _int(environment.get("SLURM_NTASKS", "1"))


def _int(text: str) -> int:
    return int(text) if text.isdecimal() else 0
