"""How a person calls this program from where they are, for every command that is printed to be copied."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from gristmill.redact import HIDDEN, shown_override

_MODULE = "gristmill.pipeline.cli"


def program() -> str:
    """Return what to write for `gristmill`: the bare word where the search path leads to the same program,
    else the path or module that this process was started by."""
    started = Path(sys.argv[0] if sys.argv else "")
    if started.name in ("cli.py", "__main__.py"):
        return f"{shlex.quote(sys.executable)} -m {_MODULE}"
    if started.name != "gristmill":
        return "gristmill"  # a library: nobody called a program
    found = shutil.which("gristmill")
    return "gristmill" if found and _is_same(Path(found), started) else shlex.quote(str(started))


def command_line() -> str:
    """The command line of this process, its secrets struck out: running it again resumes."""
    return f"{program()} {shlex.join(without_secrets(sys.argv[1:]))}"


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments with the values of storage options struck out."""
    shown = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        key, equals, _ = argument.removeprefix("--storage-option=").partition("=")
        if equals and (before == "--storage-option" or argument.startswith("--storage-option=")):
            prefix = "--storage-option=" if argument.startswith("--storage-option=") else ""
            shown.append(f"{prefix}{key}={HIDDEN}")
        elif argument.startswith("--set="):
            shown.append(f"--set={shown_override(argument.removeprefix('--set='))}")
        else:
            shown.append(shown_override(argument))
    return shown


def spelled(text: str) -> str:
    """Return a message with each command in backticks as a person can call it from here."""
    name = program()
    return text if name == "gristmill" else re.sub(r"`gristmill (?=[a-z-])", lambda _: f"`{name} ", text)


def _is_same(found: Path, started: Path) -> bool:
    try:
        return found.samefile(started)
    except OSError:
        return False


def inside_job() -> bool:
    """Whether this process was started by `ray job submit`: its working folder is a copy that is thrown
    away."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def resuming(recipe: str, out: Path) -> str:
    """How a person resumes this run: by the same command, or by handing the recipe to the cluster again."""
    if not inside_job():
        return f"resume with: {command_line()}"
    file = next((said for said in sys.argv if said.endswith((".yaml", ".yml"))), f"{recipe}.yaml")
    return (
        f"hand the recipe in again from where it lies, and the run resumes: gristmill submit {file}"
        f" --address ADDRESS --out {shlex.quote(str(out))}"
    )
