"""Narration: by the clock where one task takes long, silent when quiet, and nothing after a phase has
ended."""

from __future__ import annotations

import io
import time

import pytest

from gristmill.pipeline.run import progress
from gristmill.pipeline.run.progress import Progress, spell_seconds


def test_a_long_task_is_spoken_of_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.05)
    stream = io.StringIO()
    told = Progress(stream=stream)
    told.phase("train train", done=0, total=1)
    deadline = time.monotonic() + 10
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
