"""What verbs print: nothing of a record that a terminal would obey, nothing broken that people copy, no
colour unasked."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gristmill.pipeline.look import comparison
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.printing.figures import one_line
from gristmill.pipeline.look.printing.tables import print_status, print_table
from gristmill.pipeline.look.printing.terminal import Paper, facts, rows
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.sides import Moved
from tests.support.run_folders import ATTACKS, NASTY, write_hostile_run, write_run

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    "attack",
    [0, 13, *(pytest.param(n, marks=pytest.mark.slow) for n in (*range(1, 13), *range(14, len(ATTACKS))))],
)
def test_nothing_that_a_record_holds_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], attack: int
) -> None:
    text = ATTACKS[attack]
    out = write_hostile_run(tmp_path / "hostile", text)
    print_status(out, as_json=False)
    print_status(out, as_json=True)
    print_table([text, "b"], [[text, text]], right=(1,))
    views = read_view(write_run(tmp_path / "plain")), read_view(out)
    moved = Moved(1, Counter([text]), [{"id": "0" * 32, "url": text, "because": text}])
    found = comparison.Comparison(views, (build_funnel(views[0]), build_funnel(views[1])), (moved, Moved()))
    told = list(comparison.tell(found, Paper(colour=False)))
    paper = Paper(colour=False)
    told += [*facts(paper, {"note": text, "url": text}), *rows(paper, [text, "b"], [[text, text]])]
    printed = capsys.readouterr().out
    assert not OBEYED.search(printed + "\n".join(told)), OBEYED.findall(printed + "\n".join(told))
    assert all("\n" not in line for line in told)
    assert json.dumps(comparison.as_json(found)).isascii()


def test_marks_of_direction_are_spelled_out_in_a_name_and_kept_in_running_text() -> None:
    assert one_line("a\u200fb\u061c") == "a\\u200fb\\u061c"
    assert list(Paper(colour=False).wrap("a\u200fb")) == ["  a\u200fb"]


def test_what_people_copy_is_never_cut_or_broken() -> None:
    path = "/a/" + "long/" * 30 + "file.warc.gz"
    lines = list(facts(Paper(colour=False), {"file": path, "note": path}))
    assert lines[0].endswith(path) and len(lines[1]) <= 80 and lines[1].endswith("…")


def verb(*arguments: str, **environment: str) -> str:
    """Run a verb on a terminal of its own and return what it wrote there."""
    master, end = pty.openpty()
    command = [sys.executable, "-m", "gristmill.pipeline.cli", *arguments]
    known = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    run = subprocess.Popen(
        command, stdin=end, stdout=end, stderr=end, env={**known, "COLUMNS": "80", **environment}
    )
    os.close(end)
    written = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        written += chunk
    run.wait()
    os.close(master)
    return written.decode()


def test_colour_is_for_terminals_and_not_where_it_is_unwanted(tmp_path: Path) -> None:
    out = str(write_run(tmp_path))
    assert "\x1b[2m" in verb("status", out)
    assert "\x1b" not in verb("status", out, NO_COLOR="1")
    piped = subprocess.run(
        [sys.executable, "-m", "gristmill.pipeline.cli", "status", out],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\x1b" not in piped.stdout and piped.stderr == ""


def test_an_error_that_quotes_a_hostile_name_is_harmless(tmp_path: Path) -> None:
    said = verb("status", str(tmp_path / NASTY.replace("\x00", "").replace("/", "")[:80]), NO_COLOR="1")
    assert said.startswith("error: ") and not OBEYED.search(said.replace("\r\n", "\n"))
