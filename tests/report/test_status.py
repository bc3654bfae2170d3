"""The live view of a run: states, shards of the phase at work, rate, time to go, stragglers, memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.pipeline.look.live import read_status
from gristmill.pipeline.look.tables import print_status
from gristmill.pipeline.run.folder import PROGRESS
from tests.support.run_folders import books, record, write_run, write_run_file, write_step


def write_live(out: Path, num_done: int, total: int) -> None:
    records = [record("extract", number, books(95, 0, 5), "web") for number in range(num_done)]
    folder = write_step(out, "extract/web", "extract", records, finished=False)
    (out / folder / PROGRESS).write_text(json.dumps({"phase": "extract", "total": total}))
    write_run_file(out, {}, ["extract/web", "filter/web"], complete=False)


def test_a_phase_at_work_tells_its_rate_and_how_long_the_rest_takes(tmp_path: Path) -> None:
    write_live(tmp_path, 5, 20)  # one record a second
    first, second = read_status(tmp_path)["steps"]
    assert (first["state"], first["shards"], first["total"]) == ("stopped", 5, 20)
    assert first["shards_per_minute"] == 60.0
    assert first["eta_seconds"] == 15.0
    assert first["stragglers"] == ["00001"]
    assert first["peak_bytes"] == 300_000_000
    assert first["kept"] == 475
    assert second["state"] == "waiting"


def test_shards_that_failed_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_live(tmp_path, 2, 4)
    (folder,) = (tmp_path / "steps").iterdir()
    (folder / "quarantine").mkdir()
    (folder / "quarantine" / "extract-00003.txt").write_text("ValueError: no\n")
    assert read_status(tmp_path)["steps"][0]["state"] == "failed"
    assert print_status(tmp_path, as_json=False) is False
    printed = capsys.readouterr().out
    assert "extract/web: failed on every attempt: extract-00003" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_finished_run_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    assert print_status(tmp_path, as_json=True) is True
    status = json.loads(capsys.readouterr().out)
    assert [step["state"] for step in status["steps"]] == ["done", "done"]
    assert status["steps"][1]["by_rule"] == {"gopher.words": 66, "c4-code.sentences": 30}
