"""Paths that somebody else wrote into a manifest: they stay inside its folder, or are refused."""

from __future__ import annotations

from pathlib import Path

from gristmill.errors import IntegrityError

_MOST_BYTES = 4096


def below(folder: Path, relative: str) -> Path:
    """Return the path of a name below a folder; raises IntegrityError for one that leads out of it."""
    parts = relative.split("/") if isinstance(relative, str) else [".."]
    if (
        any(part in ("", ".", "..") for part in parts)
        or "\\" in relative
        or not relative.isprintable()
        or len(relative.encode("utf-8", "replace")) > _MOST_BYTES
    ):
        raise IntegrityError(
            f"`{folder}` names a file {ascii(relative)[:100]}, which is no path inside it",
            hint="it was not written by gristmill, or was altered: do not use it",
        )
    return folder / relative


def plain_name(folder: Path, name: str) -> str:
    """Return a name that is one file right in a folder; raises IntegrityError for any other."""
    below(folder, name if isinstance(name, str) and "/" not in name else "..")
    return name
