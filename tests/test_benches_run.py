"""Every bench that needs no data of the reader's runs to its end, small: one that nobody ran would rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUICK = sorted(
    path.name for path in (ROOT / "benchmarks").glob("*.py") if '"--quick"' in path.read_text("utf-8")
)
# Those that ask for texts or pages of the reader's, or for an interpreter that has peers.
NEED_DATA = {
    "charset.py",
    "extract.py",
    "extract_sets.py",
    "extract_structure.py",
    "keep_ends.py",
    "language.py",
    "many_documents.py",
    "ngram.py",
    "stages.py",
    "statements.py",
    "topics.py",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in QUICK if name not in NEED_DATA])
def test_a_bench_runs_small_and_prints_its_result(name: str) -> None:
    command = [sys.executable, f"benchmarks/{name}", "--quick", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.strip().splitlines()[-1])
