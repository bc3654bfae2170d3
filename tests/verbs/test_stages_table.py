"""The table of stages in README and docs is the one that its bench prints of the kept result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.benches import load_bench

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/speed.md"])
def test_the_table_is_not_older_than_the_result(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load_bench("stages", monkeypatch)
    table = bench.as_markdown(json.loads(bench.RESULT.read_text()))
    assert table in (ROOT / page).read_text(), f"put what `stages.py --markdown` prints into {page}"
