"""How a person calls this program from where they are, for every command that is printed to be copied."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

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


def spelled(text: str) -> str:
    """Return a message with each command in backticks as a person can call it from here."""
    name = program()
    return text if name == "gristmill" else re.sub(r"`gristmill (?=[a-z-])", lambda _: f"`{name} ", text)


def _is_same(found: Path, started: Path) -> bool:
    try:
        return found.samefile(started)
    except OSError:
        return False
