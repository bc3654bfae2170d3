"""How well a cluster's CPUs are used: short tasks on two, growth from one to eleven, a recipe on four.

    python benchmarks/cluster.py [--quick] [--json] [--save] [--only short,growth,recipe] [--warcs FOLDER]

`short`: 5,000 tasks that do nothing but commit their record, on two CPUs: tasks a second from the first that
ended to the last, and the driver's CPU seconds for a thousand. `growth`: one CPU, then eleven; tasks that
sleep a second: the share of all CPU seconds, from when the node had joined, in which a task was at work.
`recipe`: the folder's archives as eight sources through every stage up to the mixture, on four workers: the
same share of the whole run. Nodes are raylets on loopback. There is no peer: the goals stand beside.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "cluster.json"
GROWN_CPUS = 11


def short(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    found = ended(begin(folder, "many", 300 if options.quick else 5000, 0.0, 2))
    return {"goal": {"tasks_per_s": 250, "driver_cpu_seconds_per_1000": 1.0}, **found}


def growth(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    from tests.support.cluster import add_node, cluster

    with cluster(num_cpus=1) as made:
        driver = begin(folder, "many", 60 if options.quick else 900, 1.0, None, made.address)
        progress = folder / "out" / "steps"
        while not list(progress.glob("*/records/*/*.json")):
            if driver.poll() is not None:
                raise RuntimeError("the driver ended before its first task did")
            time.sleep(0.1)
        before = time.time()
        add_node(made, GROWN_CPUS - 1)
        grown = time.time()
        found = ended(driver)
    tasks = found.pop("tasks")
    last = max(end for _, end in tasks)
    at_work = sum(max(0.0, end - max(start, grown)) for start, end in tasks)
    share = at_work / (GROWN_CPUS * (last - grown))
    return {
        "goal": {"used_fraction": 0.85},
        "used_fraction": round(share, 3),
        "num_tasks": len(tasks),
        "node_took_seconds": round(grown - before, 1),
        "seconds_with_all": round(last - grown, 1),
    }


def recipe(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    if options.warcs is None:
        raise SystemExit("`recipe` mills archives of real pages: name their folder with `--warcs`")
    files = sorted(str(path.resolve()) for path in options.warcs.glob("*.warc.gz"))
    found = ended(begin(folder, "mill", files, 200 if options.quick else None, 4))
    tasks = found.pop("tasks")
    wall = max(end for _, end in tasks) - min(start for start, _ in tasks)
    share = sum(end - start for start, end in tasks) / (4 * wall)
    return {
        "goal": {"used_fraction": 0.92},
        "used_fraction": round(share, 3),
        "wall_seconds": round(wall, 1),
        "num_tasks": len(tasks),
        **found,
    }


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "short": short,
    "growth": growth,
    "recipe": recipe,
}


def begin(folder: Path, function: str, *arguments: object) -> subprocess.Popen[str]:
    """Call a function of `cluster_work` in a process of its own, whose CPU time is the driver's."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "import json\nfrom benchmarks import cluster_work\n"
    code += f"print(json.dumps(cluster_work.{function}(*{arguments!r})))\n"
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the driver ended with {process.returncode}")
    return json.loads(said.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--save", action="store_true", help="keep the result beside others; parts not run stay"
    )
    parser.add_argument("--only", default="short,growth", help="some of " + ", ".join(PARTS))
    parser.add_argument("--warcs", type=Path, help="a folder of *.warc.gz, for `recipe`")
    options = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    line: dict[str, Any] = json.loads(RESULT.read_text()) if options.save and RESULT.exists() else {}
    line["what"] = "how well a cluster's CPUs are used: short tasks, growth from 1 to 11 CPUs, a recipe on 4"
    for name in options.only.split(","):
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            part = PARTS[name](Path(folder), options)
        line[name] = {
            **part,
            "command": f"python benchmarks/cluster.py --only {name}{' --quick' if options.quick else ''}",
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "load_before": round(load, 1),
            "versions": {"ray": importlib.metadata.version("ray"), "python": platform.python_version()},
        }
        print(f"{name}: {line[name]}", file=sys.stderr)
    if options.save:
        RESULT.write_text(json.dumps(line, indent=1) + "\n")
    print(json.dumps(line) if options.json else json.dumps(line, indent=1))


if __name__ == "__main__":
    main()
