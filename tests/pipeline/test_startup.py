"""What a command loads before it works: a plan, and a finished recipe asked again, wait for no kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RECIPE = """
name: small
sources: {{notes: {{inputs: {inputs}}}}}
filter:
  language: {{keep: [en]}}
  presets: [gopher, gopher-repetition, c4-code, fineweb, refinedweb-lines, redpajama-v2]
  pii: {{}}
dedup: {{exact: {{}}, lines: {{}}, fuzzy: {{}}}}
"""
LOADED = """
import sys
from gristmill.pipeline import cli
try:
    cli.main({command!r})
except SystemExit as end:
    assert not end.code, end.code
print(sorted({{"numba", "scipy", "awkward", "ray", "torch", "datatrove"}} & set(sys.modules)))
"""


def _loaded(*command: str) -> str:
    code = LOADED.format(command=list(command))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_a_plan_and_a_finished_recipe_load_no_kernel(tmp_path: Path) -> None:
    inputs = tmp_path / "notes.jsonl"
    inputs.write_text(json.dumps({"text": "The water ran to the mill, and the wheel turned. " * 9}))
    recipe, out = tmp_path / "recipe.yaml", str(tmp_path / "out")
    recipe.write_text(RECIPE.format(inputs=inputs))
    run = ("run", str(recipe), "--out", out, "--engine", "inline")
    assert _loaded("plan", str(recipe), "--out", out) == "[]"
    assert "numba" in _loaded(*run)
    assert _loaded(*run) == "[]"
    assert _loaded("status", out) == "[]"


def test_kernels_load_no_other_packages_extensions_of_numba() -> None:
    code = "import gristmill.filters.passes, sys; print('awkward' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
