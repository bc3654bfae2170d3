"""The live view of a run: states, shards of the phase at work, rate, time to go, stragglers, memory."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gristmill.pipeline.look.live import read_status
from gristmill.pipeline.look.metrics import metrics, metrics_server
from gristmill.pipeline.look.printing.tables import print_status, watch_status
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


def test_records_inside_shards_and_figures_for_prometheus_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_live(tmp_path, 5, 20)
    (folder,) = (tmp_path / "steps").iterdir()
    (folder / ".scratch" / "extract-00005-ab").mkdir(parents=True)
    (folder / ".scratch" / "extract-00005-ab" / "told").write_text("412")
    print_status(tmp_path, as_json=False)
    assert "5/20 +412 records" in capsys.readouterr().out
    text = metrics(tmp_path)
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['gristmill_step_state{step="extract/web",state="stopped"}'] == "1"
    assert samples['gristmill_step_state{step="filter/web",state="waiting"}'] == "1"
    assert samples['gristmill_step_shards_done{step="extract/web"}'] == "5"
    assert samples['gristmill_step_records_at_work{step="extract/web"}'] == "412"
    assert samples["gristmill_run_running"] == "0"
    helped = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(helped) == len(set(helped)) and {name.partition("{")[0] for name in samples} == set(helped)


def test_figures_are_served_to_who_collects_them(tmp_path: Path) -> None:
    write_run(tmp_path)
    server = metrics_server(tmp_path, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(f"{address}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert b"gristmill_run_complete 1" in answer.read()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/etc/passwd")
        refused.value.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_watching_ends_when_nobody_is_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_live(tmp_path, 5, 20)
    assert watch_status(tmp_path, as_json=False) is False
    assert capsys.readouterr().out.count("not complete, not running") == 1
