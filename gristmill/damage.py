"""What to say of a published file that is not what was written: which it is, and the command that mends
it."""

from __future__ import annotations

import shlex
from pathlib import Path

from gristmill.errors import IntegrityError


def damaged(path: Path, reason: str) -> IntegrityError:
    """Name a damaged file; the hint is how to have its step made anew."""
    return IntegrityError(f"`{path}` is damaged: {reason}", hint=mending(step_folder_of(path)))


def step_folder_of(path: Path) -> Path:
    """The folder of the step that a file was published by: below `steps`, else the nearest above `data`."""
    for folder in path.parents:
        if folder.parent.name == "steps":
            return folder
    return path.parent.parent if path.parent.name == "data" else path.parent


def mending(folder: Path) -> str:
    """The command that has a step made anew."""
    return (
        f"make its step anew with `rm -r {shlex.quote(str(folder))}`, then run the same command; what else is"
        " done stays done"
    )
