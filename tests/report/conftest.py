"""One browser for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.chromium import FLAGS, Tab


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of a browser of its own; skipped where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    profile = tmp_path_factory.mktemp("browser")
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    flags = " ".join([*FLAGS, f"--user-data-dir={profile}"])
    shell = f"exec {program} {flags} 3<&{commands_out} 4>&{answers_in} about:blank"
    process = subprocess.Popen(
        ["bash", "-c", shell],
        pass_fds=(commands_out, answers_in),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(commands_out)
    os.close(answers_in)
    tab = Tab(commands_in, answers_out)
    yield tab
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    tab._command.close()
    tab._answers.close()
