"""What verbs take on an object store that answers after 40 ms: a run with nothing to do, `verify`, `report`
and `status` of a run of every stage.

    python benchmarks/object_store.py [--quick] [--json] [--save] [--latency 0.04]

The store is in this process (`tests/support/counting_store.py`), below s3fs: requests are counted, and each
waits for the latency as it would for a network, without the network's work. `cold` reads everything from the
store, as a machine that did not write it; `warm` has the files in its cache. There is no peer: the goals are
what a person waits for.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RESULT = ROOT / "benchmarks" / "results" / "object_store.json"
SHARDS = 6  # of each source
GOALS = {"run with nothing to do": 2.0, "verify": 5.0, "report": 4.0, "status": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="with a warm cache alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save", action="store_true", help="keep the result beside those of other benches")
    parser.add_argument("--latency", type=float, default=0.04, help="seconds until the store answers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = measure(Path(folder), options.latency, ("warm",) if options.quick else ("cold", "warm"))
    line = {
        "what": f"verbs on an object store that answers after {options.latency * 1000:g} ms",
        "unit": "seconds of wall time",
        **found,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: importlib.metadata.version(name) for name in ("s3fs", "pyarrow")}
        | {"python": platform.python_version()},
        "command": "python benchmarks/object_store.py",
    }
    if options.save:
        RESULT.write_text(json.dumps(line, indent=1) + "\n")
    print(json.dumps(line) if options.json else json.dumps(line, indent=1))


def measure(folder: Path, latency: float, caches: Sequence[str]) -> dict[str, Any]:
    from gristmill.files.location import RemotePath, use_storage
    from gristmill.files.remote import Access
    from gristmill.files.remote_store import StorageSettings
    from gristmill.pipeline.look.live import read_status
    from gristmill.pipeline.look.verify import Checked, verify
    from gristmill.pipeline.recipe.file import make_recipe
    from gristmill.pipeline.recipe.plan import build_plan
    from gristmill.pipeline.report.page import write_report
    from gristmill.pipeline.run.narration.progress import Progress
    from gristmill.pipeline.run.runner import run_plan
    from gristmill.pipeline.run.settings import EngineSettings
    from tests.pipeline.test_requests import write_shards
    from tests.support.counting_store import counting_store
    from tests.support.small_recipe import recipe

    write_shards(folder, SHARDS)
    sources = {"web": {"inputs": ["web-*.jsonl"]}, "prose": {"inputs": ["prose-*.jsonl"], "filter": False}}
    made = recipe(shard_bytes=8000, sources=sources, filter={"presets": ["gopher"]})
    made["mix"]["tokens"] = 200 * SHARDS
    plan, engine, quiet = (
        build_plan(make_recipe(made)), EngineSettings(kind="inline"), Progress(quiet=True)
    )  # fmt: skip
    out = RemotePath("s3://mill/out")

    def reach(cache: str) -> None:
        access = Access({"key": "x", "secret": "y", "skip_instance_cache": True})
        use_storage(str(out), StorageSettings(access, str(folder / cache)))

    found: dict[str, Any] = {}
    with counting_store() as store:
        reach("warm")
        run_plan(plan, out, engine, quiet)
        store.latency_seconds = latency
        checked = Checked()

        def check() -> None:
            problems = list(verify(out, checked))
            if problems:
                raise RuntimeError(f"the run is not whole: {problems[0]}")

        verbs: dict[str, Callable[[], object]] = {
            "run with nothing to do": lambda: run_plan(plan, out, engine, quiet),
            "verify": check,
            "report": lambda: write_report(out, folder / "report.html"),
            "status": lambda: read_status(out),
        }
        for verb, work in verbs.items():
            for cache in caches:
                reach(f"cold-{verb}".replace(" ", "-") if cache == "cold" else "warm")
                store.take()
                began, cpu = time.perf_counter(), time.process_time()
                work()
                seconds, spent = time.perf_counter() - began, time.process_time() - cpu
                asked = store.take()
                found.setdefault(verb, {"goal": GOALS[verb]})[cache] = {
                    "seconds": round(seconds, 2),
                    "cpu_seconds": round(spent, 2),
                    "requests": dict(sorted(asked.items())),
                }
                print(f"{verb}, {cache}: {found[verb][cache]}", file=sys.stderr)
    found["files"] = checked.num_files // len(caches)
    return found


if __name__ == "__main__":
    main()
