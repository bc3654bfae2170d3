"""The bench of main text can be run part by part: parts not run stay as they were measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.benches import load_bench


def test_a_part_joins_those_measured_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load_bench("extract", monkeypatch)
    monkeypatch.setattr(bench, "RESULT", tmp_path / "extract.json")
    peers = dict.fromkeys(bench.PEERS, 10.0)
    timed = {"pages": 2, "pages_per_cpu_second": {"blocks": 100.0, **peers}, "ratio": {"trafilatura": 10.0}}
    bench.save("killable", {"in_process": 5.0})
    bench.save("pages", timed)
    bench.save("killable", {"in_process": 6.0})
    kept = json.loads(bench.RESULT.read_text())
    assert kept["killable"] == {"in_process": 6.0} and kept["pages"] == timed
    assert kept["ours"] == 100.0 and kept["peers"] == peers and kept["ratio"] == {"trafilatura": 10.0}
    assert kept["runs"].keys() == {"pages", "killable"}
    assert all({"command", "machine", "versions", "load"} <= run.keys() for run in kept["runs"].values())
