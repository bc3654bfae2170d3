"""Comparisons of recipes killed at random moments go on, and end with the figures of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import planted

ROOT = Path(__file__).resolve().parents[2]


def command(recipe: Path, verb: str, out: str) -> list[str]:
    said = ["--target", f"prose={recipe.parent / 'target.jsonl'}", "--documents", "20", "--tokens", "20k"]
    said += [
        "--document-bytes",
        "500",
        "--seeds",
        "2",
        "--out",
        out,
        "--engine",
        "inline",
        "--quiet",
        "--json",
    ]
    if verb == "ablate":
        said += ["--vary", f"bad: sources.text.inputs=[{json.dumps(str(recipe.parent / 'bad.jsonl'))}]"]
    else:
        said += ["--runs", "4"]
    return [sys.executable, "-m", "gristmill.pipeline.cli", verb, str(recipe), *said]


def finished(recipe: Path, verb: str, out: str) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command(recipe, verb, out), cwd=recipe.parent, env=environment, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - began


@pytest.mark.crash
@pytest.mark.parametrize("verb", ["ablate", "mixture-search"])
def test_killed_at_any_moment_it_goes_on_to_the_same_figures(tmp_path: Path, verb: str) -> None:
    recipe = planted.write_planted(tmp_path)
    if verb == "mixture-search":
        data = yaml.safe_load(recipe.read_text())
        data["sources"]["noise"] = {"inputs": ["bad.jsonl"], "filter": False}
        data["mix"] = {"proportions": {"text": 0.5, "noise": 0.5}, "heldout_fraction": 0.05}
        recipe.write_text(yaml.safe_dump(data))
    expected, seconds = finished(recipe, verb, "undisturbed")
    draw = random.Random(verb)
    for _ in range(6):
        process = subprocess.Popen(
            command(recipe, verb, "killed"),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(draw.uniform(1.0, 0.5 * seconds))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert finished(recipe, verb, "killed")[0] == expected
