"""Comparisons of recipes on a Ray of this machine: trainings side by side, the figures of one after another,
and a killed call that goes on."""

from __future__ import annotations

import json
import os
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
WORKERS = 2


def command(recipe: Path, verb: str, out: str, *engine: str) -> list[str]:
    said = ["--target", f"prose={recipe.parent / 'target.jsonl'}", "--documents", "20", "--tokens", "20k"]
    said += ["--document-bytes", "500", "--seeds", "2", "--out", out, "--json", "--engine", *engine]
    if verb == "ablate":
        said += ["--vary", f"bad: sources.text.inputs=[{json.dumps(str(recipe.parent / 'bad.jsonl'))}]"]
        said += ["--no-proxies"]
    else:
        said += ["--runs", "4"]
    return [sys.executable, "-m", "gristmill.pipeline.cli", verb, str(recipe), *said]


def begun(recipe: Path, verb: str, out: str, *engine: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(recipe, verb, out, *engine),
        cwd=recipe.parent,
        # A raylet gets 30 s to start, which a machine under load does not keep.
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_raylet_start_wait_time_s": "300"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, told = process.communicate(timeout=1800)
    assert process.returncode == 0, told
    return dict(json.loads(said.splitlines()[-1]))


def trained(out: Path) -> dict[str, dict[str, Any]]:
    """The records of trainings by key, as far as there are any."""
    folder = out / "trials" / "records" / "train"
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def at_once(records: dict[str, dict[str, Any]]) -> int:
    """The most trainings that were at work at one moment."""
    spans = [(r["timing"]["ended"] - r["timing"]["seconds"], r["timing"]["ended"]) for r in records.values()]
    return max(sum(int(begin <= at < end) for begin, end in spans) for at, _ in spans)


def recipe_of(folder: Path, verb: str) -> Path:
    recipe = planted.write_planted(folder)
    if verb == "mixture-search":
        data = yaml.safe_load(recipe.read_text())
        data["sources"]["noise"] = {"inputs": ["bad.jsonl"], "filter": False}
        data["mix"] = {"proportions": {"text": 0.5, "noise": 0.5}, "heldout_fraction": 0.05}
        recipe.write_text(yaml.safe_dump(data))
    return recipe


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["ablate", "mixture-search"])
def test_on_ray_figures_are_those_of_one_after_another_also_after_a_kill(tmp_path: Path, verb: str) -> None:
    recipe = recipe_of(tmp_path, verb)
    expected = finished(begun(recipe, verb, "inline", "inline"))
    process = begun(recipe, verb, "ray", "ray", "--workers", str(WORKERS))
    until = time.monotonic() + 1800
    while not trained(tmp_path / "ray") and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = trained(tmp_path / "ray")
    assert 0 < len(before) < len(trained(tmp_path / "inline"))
    assert finished(begun(recipe, verb, "ray", "ray", "--workers", str(WORKERS))) == expected
    after = trained(tmp_path / "ray")
    assert {key: after[key] for key in before} == before
    # A training that the killed run had begun may end beside those of the second.
    assert WORKERS <= at_once(after) <= 2 * WORKERS
