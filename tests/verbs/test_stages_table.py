"""The table of stages in README and docs is the one that its bench prints of the kept result."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/speed.md"])
def test_the_table_is_not_older_than_the_result(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("bench_stages", ROOT / "benchmarks" / "stages.py")
    assert spec and spec.loader
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    table = bench.as_markdown(json.loads(bench.RESULT.read_text()))
    assert table in (ROOT / page).read_text(), f"put what `stages.py --markdown` prints into {page}"
