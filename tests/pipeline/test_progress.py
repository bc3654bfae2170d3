"""Narration: by the clock where one task takes long, silent when quiet, and nothing after a phase has
ended."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gristmill.errors import StepFailed
from gristmill.manifest import TaskRecord
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.run.job import Attempt, records_at_work
from gristmill.pipeline.run.narration import progress
from gristmill.pipeline.run.narration.board import Board
from gristmill.pipeline.run.narration.log import LOG
from gristmill.pipeline.run.narration.progress import Progress, spell_seconds
from gristmill.pipeline.run.runner import Plan, run_plan
from gristmill.pipeline.run.step import Step
from tests.support.toy_stage import INLINE, TOY, Toy


def test_a_long_task_is_spoken_of_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.05)
    stream = io.StringIO()
    told = Progress(stream=stream)
    told.phase("train train", done=0, total=1)
    deadline = time.monotonic() + 90
    while stream.getvalue().count("\n") < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 2 and all(
        line.startswith("  train train: 0/1 shards, ") and line.endswith(" so far") for line in lines
    )
    told.end()
    before = stream.getvalue()
    time.sleep(0.2)
    assert stream.getvalue() == before


def test_a_name_that_a_stranger_wrote_is_spelled_out(tmp_path: Path) -> None:
    stream = io.StringIO()
    told = Progress(stream=stream)
    with told.logged(tmp_path, "run"):
        told.note("none of 3 records has `st\x1b[31mar`")
    assert "`st\\x1b[31mar`" in stream.getvalue()
    assert "\x1b" not in stream.getvalue() + (tmp_path / LOG).read_text()


def test_who_is_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.01)
    stream = io.StringIO()
    told = Progress(quiet=True, stream=stream)
    told.phase("train train", done=0, total=1)
    time.sleep(0.1)
    told.note("done")
    assert stream.getvalue() == ""


def test_durations_have_a_unit_that_fits() -> None:
    spelled = [spell_seconds(seconds) for seconds in (0.0, 0.04, 0.2, 59.94, 59.96, 185, 7800)]
    assert spelled == ["0 ms", "40 ms", "0.2 s", "59.9 s", "1 min 00 s", "3 min 05 s", "2 h 10 min"]


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_all_steps_with_the_one_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LIVE_SECONDS", 0.0)
    screen = Screen()
    told = Progress(stream=screen)
    told.plan(["extract/web", "filter/web", "train"])
    told.found("extract/web", 1872)
    told.phase("filter/web filter", done=1, total=3, told=lambda: "412 records in those at work")
    told.advance("00001")
    table = screen.getvalue().rpartition("\x1b[0J")[2].splitlines()
    assert table[0].split() == ["✓", "extract/web", "was", "there", "1,872", "documents"]
    assert table[1].startswith("  ▸ filter/web   filter: 2/3 shards, ")
    assert table[1].endswith(" to go, 412 records in those at work")
    assert table[2].split() == ["·", "train"]
    told.finished("filter/web", "done", 2.0, 1456)
    told.note("  a warning", "warning")
    assert screen.getvalue().endswith("  a warning\n") and "filter/web: done" not in screen.getvalue()


def test_a_terminal_with_few_lines_shows_those_around_the_step_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINES", "9")
    monkeypatch.setenv("COLUMNS", "80")
    board = Board([f"step{number}" for number in range(20)])
    board.begin("step10 map")
    rows = board.drawn("1/2 shards").splitlines()
    assert len(rows) == 5 and rows[2].startswith("  ▸ step10")
    assert (rows[0].strip(), rows[-1].strip()) == ("✓ 9 steps above", "· 8 steps below")


def test_events_are_json_lines_and_verbose_names_every_shard(tmp_path: Path) -> None:
    stream = io.StringIO()
    out = toy_run(tmp_path / "a", Progress(stream=stream, events=True, level="debug"))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events].count("task") == 4
    assert [event["step"] for event in events if event["event"] == "step"] == ["toy"]
    assert {"plan", "phase"} <= {event["event"] for event in events}
    plain = io.StringIO()
    toy_run(tmp_path / "b", Progress(stream=plain, level="debug"))
    assert "  toy map: shard 00002 is done, 3/3" in plain.getvalue().splitlines()
    assert (out / LOG).read_text().count("began: ") == 1


def test_a_run_has_a_log_file_also_when_it_is_quiet_and_when_it_fails(tmp_path: Path) -> None:
    out = toy_run(tmp_path, Progress(quiet=True, log_level="debug"))
    lines = (out / LOG).read_text().splitlines()
    assert [line.split()[1] for line in lines] == [
        "info", "info", "debug", "debug", "debug", "info", "debug", "info",
    ]  # fmt: skip
    assert all(line[:2] == "20" and line[19] == "Z" for line in lines)
    with pytest.raises(StepFailed):
        toy_run(tmp_path, Progress(quiet=True), poison=1)
    log = (out / LOG).read_text().splitlines()
    assert log[: len(lines)] == lines and " error   StepFailed: step `toy` failed" in log[-1]
    assert [finding.problem for finding in verify(out)] == ["is not complete: the step `toy` is not finished"]


def test_records_inside_shards_at_work_are_counted(tmp_path: Path) -> None:
    attempt = Attempt(
        tmp_path, tmp_path / ".scratch" / "extract-00000-ab", TaskRecord("extract", "0"), None, 1
    )
    other = tmp_path / ".scratch" / "extract-00001-cd"
    for folder in (attempt.scratch, other):
        folder.mkdir(parents=True)
    attempt.tell(30)
    attempt.tell(40)  # too soon to be said
    (other / "told").write_text("12")
    assert records_at_work(tmp_path, "extract") == 42
    assert records_at_work(tmp_path / "nowhere", "extract") == 0


def toy_run(out: Path, told: Progress, **settings: Any) -> Path:
    run_plan(Plan("toy", 1, [Step("toy", TOY, Toy(**settings))], {}), out, INLINE, told)
    return out
