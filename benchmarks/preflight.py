"""Does `gristmill plan --estimate` tell the truth? Predict a recipe's run from a sample, then run it, and lay
both side by side.

    python benchmarks/preflight.py RECIPE [--json] [--save NAME] [--set KEY=VALUE]

`--save` keeps the result under NAME in benchmarks/results/preflight.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "preflight.json"
GRISTMILL = [sys.executable, "-W", "ignore", "-m", "gristmill.pipeline.cli"]


def gristmill(*arguments: str) -> tuple[str, str, float]:
    """Run a verb; return stdout, stderr and seconds."""
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*GRISTMILL, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout, done.stderr, time.perf_counter() - began


def spelled_seconds(text: str) -> float:
    """Read back a duration such as `1 min 02 s`."""
    units = {"h": 3600.0, "min": 60.0, "s": 1.0}
    return sum(float(amount) * units[unit] for amount, unit in re.findall(r"([\d.]+) (h|min|s)\b", text))


def last_note(narration: str) -> str:
    """The last line that a run with --json said of itself: its narration is a JSON object a line."""
    events = [json.loads(line) for line in narration.splitlines() if line.startswith("{")]
    return str([event["text"] for event in events if event["event"] == "note"][-1])


def kept(step: dict[str, Any]) -> float | None:
    entered = sum(step.get(outlet, 0) for outlet in ("kept", "removed", "failed"))
    return step["kept"] / entered if entered else None


def compare(recipe: str, overrides: list[str]) -> dict[str, Any]:
    sets = [part for override in overrides for part in ("--set", override)]
    said, _, sample_seconds = gristmill("plan", recipe, "--estimate", "--json", *sets)
    predicted = json.loads(said.splitlines()[-1])
    with tempfile.TemporaryDirectory() as folder:
        said, narration, wall = gristmill("run", recipe, "--out", f"{folder}/out", "--json", *sets)
    ran = {step["step"]: step for step in json.loads(said.splitlines()[-1])["steps"]}
    took = spelled_seconds(last_note(narration).split(";")[0].partition("steps run,")[2])
    steps, worst = [], 0.0
    for step in predicted["steps"]:
        rate, share = kept(ran[step["step"]]), (step["kept_fraction"] or [None])[0]
        if rate is not None and share is not None:
            worst = max(worst, abs(100 * (share - rate)))
        steps.append(
            {
                "step": step["step"],
                "predicted_kept": share,
                "kept": rate,
                "wall": step["wall_seconds"],
                "seconds": ran[step["step"]]["seconds"],
            }
        )
    return {
        "predicted_seconds": predicted["seconds"],
        "seconds": took,
        "error_fraction": round(predicted["seconds"][0] / took - 1, 4),
        "worst_keep_rate_points": round(worst, 2),
        "sample_fraction": round(predicted["sample_fraction"], 4),
        "estimate_took_seconds": round(sample_seconds, 1),
        "run_took_with_start_seconds": round(wall, 1),
        "steps": steps,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--save")
    options = parser.parse_args()
    line = compare(options.recipe, options.overrides)
    if options.save:
        known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        RESULT.write_text(json.dumps({**known, options.save: line}, indent=1) + "\n")
    print(json.dumps(line) if options.json else json.dumps(line, indent=1))


if __name__ == "__main__":
    main()
