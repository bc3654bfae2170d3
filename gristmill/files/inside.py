"""What somebody else wrote: paths in a manifest stay inside its folder or are refused, text is made harmless
for a terminal, JSON of any kind is read or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gristmill.errors import IntegrityError
from gristmill.files.disk import read_file

_MOST_BYTES = 4096
# C0 and C1 controls but tab and newline, and the characters that reorder what follows them (Unicode TR 9, TR
# 36).
_CONTROLS = {
    code: f"\\x{code:02x}" for code in [*range(0x20), *range(0x7F, 0xA0)] if code not in (0x09, 0x0A)
}
_REORDERING = {code: f"\\u{code:04x}" for code in [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]}
_INERT = _CONTROLS | _REORDERING | {code: "\ufffd" for code in range(0xD800, 0xE000)}


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


def inert(text: str) -> str:
    """Spell out control characters, escape sequences and direction overrides; they could disfigure what
    stands around them."""
    return text.translate(_INERT)


def parsed(data: str | bytes) -> Any:
    """Parse JSON; raises JSONDecodeError for all that cannot be read, nested without end included."""
    try:
        return json.loads(data)
    except RecursionError:
        raise json.JSONDecodeError("nested too deep", "", 0) from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a file of one JSON object; raises IntegrityError, with its name, for any other content."""
    try:
        found = parsed(read_file(path))
    except ValueError as error:
        raise IntegrityError(f"it is not JSON: {error}", where=str(path)) from None
    if not isinstance(found, dict):
        raise IntegrityError(f"it holds no JSON object but {type(found).__name__}", where=str(path))
    return found
