"""Hand a recipe to Ray's job server through its own command line, so that no second client has to be kept in
step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gristmill.errors import UsageError
from gristmill.redact import public_url

TOKEN = Path("~/.ray/auth_token")


def job_command(
    recipe_name: str, address: str, folder: Path, out: str, overrides: Sequence[str], *, wait: bool
) -> list[str]:
    """Return the `ray job submit` command for a recipe copied into `folder`, the job's working folder."""
    sets = [part for override in overrides for part in ("--set", override)]
    run = [
        "python",
        "-m",
        "gristmill.pipeline.cli",
        "run",
        recipe_name,
        "--out",
        out,
        "--engine",
        "ray",
        "--address",
        "auto",
        *sets,
    ]
    submit = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "job",
        "submit",
        "--address",
        address,
        "--working-dir",
        str(folder),
    ]
    return [*submit, *([] if wait else ["--no-wait"]), "--", *map(through_the_shell, run)]


def through_the_shell(argument: str) -> str:
    """Spell an argument so that it arrives as it is.

    Ray joins a job's arguments by `subprocess.list2cmdline`, which quotes for Windows, and hands the line to
    `/bin/sh`: an argument with a space or a tab is put between double quotes, and each double quote gets a
    backslash, as do the backslashes before it.
    """
    if not argument or " " in argument or "\t" in argument:
        spelled = re.sub(r'(\\+)(?!["\\]|\Z)', r"\1\1", argument)
        return re.sub(r"[$`]", r"\\\g<0>", spelled)
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", argument):
        return argument
    # Outside of double quotes: a single quote stands behind a backslash, a double one gets its own from Ray.
    parts = (part.replace("'", r"'\''") for part in argument.split('"'))
    return '"'.join(f"'{part}'" for part in parts)


def submit_job(recipe: Path, address: str, out: str, overrides: Sequence[str], *, wait: bool) -> int:
    """Submit and, if asked, follow a job; return its exit code.

    The working folder holds the recipe and the Python files beside it (a recipe may name rules in them),
    nothing else.
    """
    if any("storage_options" in said or public_url(said) != said for said in (*overrides, out)):
        raise UsageError(
            "a job's command line is shown to all who look at the cluster",
            hint=(
                "put `storage_options` and signed URLs into the recipe, or access into the environment of the"
                " nodes"
            ),
        )
    with tempfile.TemporaryDirectory(prefix="gristmill-job-") as name:
        folder = Path(name)
        for path in [recipe, *sorted(recipe.resolve().parent.glob("*.py"))]:
            shutil.copy(path, folder / path.name)
        command = job_command(recipe.name, address, folder, out, overrides, wait=wait)
        return subprocess.run(command, env={**os.environ, **_authentication()}, check=False).returncode


def _authentication() -> dict[str, str]:
    """Ray turns token authentication on where a token lies, but only on the side that looks: say the same on
    ours."""
    if "RAY_AUTH_MODE" in os.environ or not TOKEN.expanduser().exists():
        return {}
    return {"RAY_AUTH_MODE": "token"}
