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


WORKER = """
import importlib, json, sys
heavy = {heavy!r}
found = []
for name in {modules!r}:
    importlib.import_module("gristmill.pipeline." + name)
    found.append(sorted(set(heavy) & set(sys.modules)))
print(json.dumps(found))
"""
KERNELS = {"numba", "llvmlite", "scipy"}
HEAVY = {
    *KERNELS,
    *("torch", "transformers", "ray", "datatrove", "pandas", "matplotlib", "typer", "rich"),
    *("eldc", "pycld2", "fasttext", "sentencepiece", "gigatoken", "tokenizers"),
    *("fastwarc", "warcio", "trafilatura", "resiliparse", "lxml", "boto3", "s3fs", "requests"),
}


def test_a_worker_loads_what_its_phase_needs_and_no_more() -> None:
    """Each module is imported on top of those before it, as in a worker that is used again."""
    plain = ["run.cluster.worker", "run.attempt", "phases.train", "phases.exporting.export"]
    working = ["phases.tokenizer", "phases.encode", "phases.mix.written", "phases.filter"]
    working += [
        "phases.dedup.exact",
        "phases.dedup.fuzzy",
        "phases.models.classify_score",
        "phases.rights.rights",
    ]
    code = WORKER.format(heavy=sorted(HEAVY), modules=plain + working)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found[: len(plain)] == [[]] * len(plain)
    for name, loaded in zip(working, found[len(plain) :], strict=True):
        assert set(loaded) <= KERNELS, name
