"""The jobs of docs/jobs.md go through as they stand, and say what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.small_recipe import write_inputs

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "jobs.md").read_text("utf-8")
REFUSED = 2


def jobs() -> list[tuple[str, list[str], list[str]]]:
    """Of each section its title, its commands, and the lines that these are to say."""
    found = []
    for part in PAGE.split("\n## ")[1:]:
        bash, text = (
            [line for block in re.findall(rf"^```{kind}\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
             for line in block.splitlines()]
            for kind in ("bash", "text")
        )  # fmt: skip
        found.append((part.partition("\n")[0], bash, text))
    return found


def say(line: str, folder: Path) -> tuple[int, str]:
    """Run a command of the page by a shell, as a person would."""
    program = shlex.join([sys.executable, "-W", "ignore", "-m", "gristmill.pipeline.cli"])
    typed = re.sub(
        r"^(timeout \S+ \S+ \S+ )?gristmill\b",
        lambda found: (found[1] or "") + program,
        re.sub(r"^python\b", sys.executable, line),
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-c", typed], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_every_job_goes_through_and_says_what_the_page_shows(tmp_path: Path) -> None:
    """One after another in one folder: later jobs stand on what earlier ones made."""
    write_inputs(tmp_path)
    (tmp_path / "crawl").mkdir()
    for path in tmp_path.glob("web-*.warc.gz"):
        path.rename(tmp_path / "crawl" / path.name)
    for title, commands, shown in jobs():
        told = ""
        for line in commands:
            code, said = say(line, tmp_path)
            wanted = REFUSED if title.startswith("3.") and "--set" in line else 0
            assert code == wanted, f"{title}: {line}\n{said}"
            assert "Traceback" not in said, said
            told += said
        for wanted_line in shown:
            assert wanted_line in told, f"{title}: `{wanted_line}` is not in\n{told}"


def test_the_page_has_a_dozen_jobs_each_with_what_it_says() -> None:
    found = jobs()
    assert len(found) == 12
    assert all(shown for _, commands, shown in found if commands)
    assert [title for title, commands, _ in found if not commands] == ["10. Two machines"]
